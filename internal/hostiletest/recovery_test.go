package hostiletest

import "github.com/thumpmq/thump"

// noRecovery lets a call end with the connection that a hostile peer has spoiled.
var noRecovery = thump.Recovery{Off: true}
