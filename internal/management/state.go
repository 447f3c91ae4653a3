package management

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
)

// State is what a broker says of a queue or stream that is being worked with. RabbitMQ
// renews it every five seconds. What it does not say is nil.
type State struct {
	Ready   *uint64
	Unacked *uint64
	// PublishRate and DeliverRate are how many messages a second there were lately.
	PublishRate, DeliverRate *float64
}

// stateAnswer is a State as RabbitMQ writes it.
type stateAnswer struct {
	Ready   *uint64 `json:"messages_ready"`
	Unacked *uint64 `json:"messages_unacknowledged"`
	Stats   struct {
		Publish struct {
			Rate *float64 `json:"rate"`
		} `json:"publish_details"`
		Deliver struct {
			Rate *float64 `json:"rate"`
		} `json:"deliver_get_details"`
	} `json:"message_stats"`
}

// UnmarshalJSON takes an object. RabbitMQ writes one without anything in it as a list.
func (a *stateAnswer) UnmarshalJSON(text []byte) error {
	*a = stateAnswer{}
	if string(text) == "[]" {
		return nil
	}
	type plain stateAnswer // without this method
	return json.Unmarshal(text, (*plain)(a))
}

// State asks for the state of a queue or stream. ErrNotFound is in the error if there is none.
func (c *Client) State(ctx context.Context, vhost, name string) (State, error) {
	var a stateAnswer
	question := "queues/" + url.PathEscape(vhost) + "/" + url.PathEscape(name) +
		"?columns=messages_ready,messages_unacknowledged,message_stats.publish_details.rate,message_stats.deliver_get_details.rate"
	if _, err := c.get(ctx, &a, question); err != nil {
		return State{}, fmt.Errorf("the state of queue %q: %w", name, err)
	}
	return State{a.Ready, a.Unacked, a.Stats.Publish.Rate, a.Stats.Deliver.Rate}, nil
}

// Node is a node of a cluster. Of one that does not run only the name is known.
type Node struct {
	Name          string `json:"name"`
	MemoryBytes   Bytes  `json:"mem_used"`
	DiskFreeBytes Bytes  `json:"disk_free"`
	MemoryAlarm   bool   `json:"mem_alarm"`
	DiskAlarm     bool   `json:"disk_free_alarm"`
}

// Bytes is a size, 0 while RabbitMQ does not know it: then it writes 0 or a word.
type Bytes uint64

// UnmarshalJSON takes a number, and anything else as 0.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	*b = 0
	_ = json.Unmarshal(text, (*uint64)(b)) // which leaves it at 0
	return nil
}

// Nodes lists the nodes of the cluster.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var list []Node
	if _, err := c.get(ctx, &list, "nodes?columns=name,mem_used,disk_free,mem_alarm,disk_free_alarm"); err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	return list, nil
}

// Connection is a client's connection.
type Connection struct {
	Name  string `json:"user_provided_name"` // what the client calls itself
	State string `json:"state"`              // "running", "flow", "blocking", "blocked" and others
}

// Connections lists the connections of all clients. all is false if there are more than 500,
// of which the list has some.
func (c *Client) Connections(ctx context.Context) (list []Connection, all bool, err error) {
	var answer struct {
		Pages int          `json:"page_count"`
		Items []Connection `json:"items"`
	}
	if _, err := c.get(ctx, &answer, "connections?page=1&page_size=500&columns=user_provided_name,state"); err != nil {
		return nil, false, fmt.Errorf("listing the connections: %w", err)
	}
	return answer.Items, answer.Pages <= 1, nil
}
