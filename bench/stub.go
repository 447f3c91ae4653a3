package main

import (
	"context"
	"errors"
	"fmt"
)

// needsBroker says whether a scenario is measured with RabbitMQ and not with the stub.
func needsBroker(s scenario) bool { return !s.Stub }

// measureStub is measure with the stub in the broker's place. There is a new one each
// time, whose CPU time is then that of this measurement.
func measureStub(ctx context.Context, self string, p peer, s scenario, t task) (sample, error) {
	serve := t
	serve.Roles, serve.Safe, serve.Profile = rolesOf(s), s.Safe, ""
	server, err := startChild(ctx, roleServe, workers(self, stubTitle)[roleServe], serve)
	if err != nil {
		return sample{}, err
	}
	defer server.stop()
	t.URL, t.Safe = server.ready.URL, s.Safe
	out, err := p.run(ctx, s, t)
	server.begin() // its clients are gone
	served, serveErr := server.wait()
	if err = errors.Join(err, serveErr); err != nil {
		return out, err
	}
	if served.Count != t.Count {
		return out, fmt.Errorf("the stub says it moved %d messages of %d", served.Count, t.Count)
	}
	out.BrokerCPUSeconds, out.Count = &served.cpuSeconds, t.Count
	return out, nil
}
