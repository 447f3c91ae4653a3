// Package move moves messages.
package move
