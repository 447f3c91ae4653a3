# make run   installs RabbitMQ where it is missing, builds, and runs the million on a private broker
# make test  runs every test, against real RabbitMQ 3.10, 4.0 and 4.3
#
# The package pattern "work" names the packages of every module in go.work; "./..."
# names those of the library's module only.

GOLANGCI = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME = 10s
DURATION = 10m
# Tests mostly wait for RabbitMQ. So more of them run at once than there are processors,
# and the packages that take minutes begin first: the others fit in beside them.
TEST = go test -count=1 -parallel 4 -timeout 40m
PACKAGES = ./internal/conformance ./cmd/thump ./internal/broker ./cmd/thump/internal/load work

.PHONY: build run test race fuzz soak bench lint check-release check-platforms tools
# Whoever builds a commit with the same Go gets the same bytes: without cgo, which is on
# where there is a C compiler, and without the names of folders.
build:
	CGO_ENABLED=0 go build -trimpath -o bin/thump ./cmd/thump

run: build
	scripts/install-rabbitmq
	bin/thump run --private

test: build tools
	scripts/with-brokers $(TEST) $(PACKAGES)

race: tools
	scripts/install-test-tools gcc libc6-dev
	scripts/with-brokers scripts/race $(TEST)

tools:
	scripts/install-rabbitmq
	scripts/install-test-tools

fuzz:
	scripts/fuzz $(FUZZTIME)

# Breaks connections, and brokers of its own, again and again, at every kind of target, and
# appends a line of JSON for each program to outages.json, also for one that fails: its test and
# its seed (to run it again: go test ./internal/conformance -run TEST -outage SEED), its faults,
# and what it found.
soak:
	scripts/with-brokers go test -race -count=1 -parallel 12 -timeout 0 -run Outages ./internal/conformance \
		-outages $(DURATION) -outages-record $(CURDIR)/outages.json

bench:
	scripts/install-rabbitmq
	THUMP_TEST_TREES= scripts/with-brokers go test -run '^$$' -bench . -benchmem work
	go -C bench run .

lint:
	scripts/tidy -diff
	GOBIN=$(CURDIR)/bin go install $(GOLANGCI)
	bin/golangci-lint run $$(go list -m -f '{{.Dir}}/...')

check-release:
	scripts/check-release

check-platforms:
	scripts/check-platforms
