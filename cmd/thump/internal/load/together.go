package load

import (
	"errors"
	"sync"
)

// questionsTogether is how many queues a run asks about, or declares, at a time, and how many consumers
// it connects. Each waits for the network several times.
const questionsTogether = 16

// Together calls ask for 0 to n-1, some at a time, and returns what went wrong.
func Together(n int, ask func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for first := range min(n, questionsTogether) {
		wg.Go(func() {
			for i := first; i < n; i += questionsTogether {
				errs[i] = ask(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
