package amqpproto

// Methods of class tx (AMQP 0-9-1 1.9.2).
const (
	MethodTxSelect     MethodID = ClassTx<<16 | 10
	MethodTxSelectOk   MethodID = ClassTx<<16 | 11
	MethodTxCommit     MethodID = ClassTx<<16 | 20
	MethodTxCommitOk   MethodID = ClassTx<<16 | 21
	MethodTxRollback   MethodID = ClassTx<<16 | 30
	MethodTxRollbackOk MethodID = ClassTx<<16 | 31
)

// newTxMethod returns an empty method of this class, or nil.
func newTxMethod(id MethodID) Method {
	switch id {
	case MethodTxSelect:
		return new(TxSelect)
	case MethodTxSelectOk:
		return new(TxSelectOk)
	case MethodTxCommit:
		return new(TxCommit)
	case MethodTxCommitOk:
		return new(TxCommitOk)
	case MethodTxRollback:
		return new(TxRollback)
	case MethodTxRollbackOk:
		return new(TxRollbackOk)
	}
	return nil
}

// txMethodName is the name of a method of this class, or empty.
func txMethodName(id MethodID) string {
	switch id {
	case MethodTxSelect:
		return "tx.select"
	case MethodTxSelectOk:
		return "tx.select-ok"
	case MethodTxCommit:
		return "tx.commit"
	case MethodTxCommitOk:
		return "tx.commit-ok"
	case MethodTxRollback:
		return "tx.rollback"
	case MethodTxRollbackOk:
		return "tx.rollback-ok"
	}
	return ""
}

// TxSelect makes the channel transactional.
type TxSelect struct{}

// ID is tx.select's.
func (*TxSelect) ID() MethodID { return MethodTxSelect }

func (*TxSelect) arguments(codec) {}

// TxSelectOk answers tx.select.
type TxSelectOk struct{}

// ID is tx.select-ok's.
func (*TxSelectOk) ID() MethodID { return MethodTxSelectOk }

func (*TxSelectOk) arguments(codec) {}

// TxCommit commits what was published and acked since the last one.
type TxCommit struct{}

// ID is tx.commit's.
func (*TxCommit) ID() MethodID { return MethodTxCommit }

func (*TxCommit) arguments(codec) {}

// TxCommitOk answers tx.commit.
type TxCommitOk struct{}

// ID is tx.commit-ok's.
func (*TxCommitOk) ID() MethodID { return MethodTxCommitOk }

func (*TxCommitOk) arguments(codec) {}

// TxRollback forgets what was published and acked since the last commit.
type TxRollback struct{}

// ID is tx.rollback's.
func (*TxRollback) ID() MethodID { return MethodTxRollback }

func (*TxRollback) arguments(codec) {}

// TxRollbackOk answers tx.rollback.
type TxRollbackOk struct{}

// ID is tx.rollback-ok's.
func (*TxRollbackOk) ID() MethodID { return MethodTxRollbackOk }

func (*TxRollbackOk) arguments(codec) {}
