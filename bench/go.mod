// A module of its own, so that thump's users never see the peers' modules.
module github.com/thumpmq/thump/bench

go 1.26.0

require (
	github.com/rabbitmq/amqp091-go v1.16.0
	github.com/thumpmq/thump v0.0.0
)

replace github.com/thumpmq/thump => ../
