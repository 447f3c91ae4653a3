// Package thump moves messages through RabbitMQ fast and accounts for each one.
package thump
