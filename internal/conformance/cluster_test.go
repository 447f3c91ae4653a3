package conformance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestClusterOutages has the programs of TestOutages at work in a cluster of three nodes, over
// everything that has more than one replica. Leaders move and die, nodes are killed and started
// again, stopped and let go on, and two of three are away, so that the third one answers, and
// can't say what there is. The programs go on with the nodes that are left.
//
// It runs on the newest broker: the others have the same leaders, and lose nodes alone in
// TestBrokerOutages.
func TestClusterOutages(t *testing.T) {
	t.Parallel()
	all := brokertest.All(t)
	b := all[len(all)-1]
	nodes := brokertest.NewCluster(t, b, 3)
	b.ManagementURL = nodes.ManagementURL(t, 0)
	t.Run("lost node", func(t *testing.T) { testLostNode(t, b, nodes) })
	seeds(t, *outagesFor, *outagesSeed, func(t *testing.T, seed uint64) {
		c := &cluster{workload: newWorkload(t, seed), Cluster: nodes}
		for i, e := range engines() {
			if e.name == "amqp-classic" { // it has one replica
				continue
			}
			r := newRigAt(t, b, e, nodes.URLs(t))
			o := newOutages(r, r.replicatedPlace(), seed+uint64(i))
			o.replay, o.refuses = seed, !e.streams()
			c.programs = append(c.programs, o)
		}
		c.run()
	})
}

// replicatedPlace is a patientPlace for a cluster, whose queues give up on lost nodes (see
// testLostNode) in less time than the tests have.
func (r *rig) replicatedPlace() string {
	r.Helper()
	if r.engine.kind == thump.Quorum {
		return r.declare(thump.QueueSpec{Name: unique("queue"), Kind: thump.Quorum, DeliveryLimit: -1, ConsumerTimeout: time.Minute})
	}
	return r.patientPlace()
}

// testLostNode loses a node over which messages were handed out. RabbitMQ 4.3.6 keeps them for the
// connections that are gone, also when the node is back, and counts them as unacked by consumers
// that it does not list ("suspected_down"): until the queue's consumer timeout is over. Then they
// come again.
func testLostNode(t *testing.T, b brokertest.Broker, nodes *brokertest.Cluster) {
	quorum, urls := engines()[1], nodes.URLs(t)
	r := newRigAt(t, b, quorum, urls[:1])
	queue := r.declare(thump.QueueSpec{Name: unique("queue"), Kind: thump.Quorum, ConsumerTimeout: 30 * time.Second})
	time.Sleep(2 * time.Second) // what is younger may not survive a kill
	r.send(queue, numbered(2)...)
	for _, cfg := range []thump.ConsumerConfig{{Poll: true}, {Prefetch: 1}} {
		cfg.From = thump.Queue(queue)
		there := thump.Config{URLs: urls[2:], Recovery: thump.Recovery{Off: true}}
		c, err := r.dial(there).Consumer(r.Context(), cfg)
		r.noError(err)
		r.receive(c, 1, nil)
	}
	r.noError(nodes.Node(2).Kill())
	nodes.Restart(t, 2)
	r.receive(r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), MaxBatch: 1}), 2, (*thump.Batch).Ack)
}

// cluster is random faults of one cluster.
type cluster struct {
	*workload
	*brokertest.Cluster
}

func (c *cluster) run() {
	c.begin()
	faults := map[string]func(){
		"leader moved": c.moveLeader, "leader killed": c.killLeader,
		"node killed": c.killNode, "node stopped": c.stopNode, "no majority": c.loseMajority,
	}
	kinds := []string{"leader moved", "leader killed", "node killed", "node stopped", "no majority"}
	c.random.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for _, kind := range kinds {
		time.Sleep(c.upTo(time.Second))
		c.fault(kind, faults[kind])
		c.goesOn(kind)
	}
	c.end() // how many were sent again does not matter: a node that fails may have carried nothing in flight
}

// goesOn waits until every program has confirmed and received more.
func (c *cluster) goesOn(after string) {
	c.Helper()
	for _, o := range c.programs {
		confirmed, handled := o.progress()
		for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if now, come := o.progress(); now > confirmed && come > handled {
				break
			}
			if time.Since(start) > patience {
				c.Fatalf("seed %d: after %q nothing goes on at %s", c.seed, after, o.place)
			}
		}
	}
}

// moveLeader makes another node the leader of something: of a queue in order, of a stream by
// the end of its leader's process.
func (c *cluster) moveLeader() {
	o := c.any()
	name, before := o.leading(), c.leader(o)
	lookup := fmt.Sprintf(`{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<%q>>)), `, name)
	if o.engine.streams() {
		c.eval(c.Node(before), lookup+"exit(amqqueue:get_pid(Q), kill).")
		return
	}
	c.eval(c.Node(before), lookup+fmt.Sprintf("rabbit_quorum_queue:transfer_leadership(Q, '%s').", c.Name((before+1)%3)))
	for start := time.Now(); c.leader(o) == before; time.Sleep(100 * time.Millisecond) {
		if time.Since(start) > patience {
			c.Fatalf("seed %d: the leader of %s stays on node %d", c.seed, name, before)
		}
	}
}

// killLeader kills the node that leads something.
func (c *cluster) killLeader() {
	c.kill(c.leader(c.any()))
}

func (c *cluster) killNode() { c.kill(c.random.IntN(3)) }

func (c *cluster) kill(i int) {
	c.noError(c.Node(i).Kill())
	time.Sleep(c.upTo(5 * time.Second))
	c.Restart(c.T, i)
}

func (c *cluster) stopNode() {
	i := c.random.IntN(3)
	c.pause(i)
	time.Sleep(c.upTo(10 * time.Second))
	c.resume(i)
}

// loseMajority stops two nodes, and cuts every connection: the clients come back to the third.
func (c *cluster) loseMajority() {
	left := c.random.IntN(3)
	c.pause((left + 1) % 3)
	c.pause((left + 2) % 3)
	for _, o := range c.programs {
		o.breaker.cut()
	}
	time.Sleep(2*time.Second + c.upTo(15*time.Second))
	c.resume((left + 1) % 3)
	time.Sleep(c.upTo(5 * time.Second))
	c.resume((left + 2) % 3)
}

func (c *cluster) pause(i int) { c.noError(c.Node(i).Pause(c.Context())) }

func (c *cluster) resume(i int) { c.noError(c.Node(i).Resume(c.Context())) }

// leader is the number of the node that leads a program's place.
func (c *cluster) leader(o *outages) int {
	c.Helper()
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		var queue struct{ Leader, Node string } // a stream of RabbitMQ 3.10 has no leader there now and then
		answer := o.manage("GET", "queues/%2F/"+url.PathEscape(o.leading()), nil)
		c.noError(json.Unmarshal(answer, &queue))
		if i := c.Called(cmp.Or(queue.Leader, queue.Node)); i >= 0 {
			return i
		}
		if time.Since(start) > patience {
			c.Fatalf("seed %d: %s has no leader: %s", c.seed, o.leading(), answer)
		}
	}
}

// leading is what has a leader: the place, or the first partition of a super stream.
func (o *outages) leading() string {
	if o.engine.can&partitions != 0 {
		return o.place + "-0"
	}
	return o.place
}

// progress is how many messages were confirmed, and how many have come.
func (o *outages) progress() (confirmed, handled int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, list := range o.outcomes {
		confirmed += len(list)
	}
	return confirmed, o.handled
}
