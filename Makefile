# make run   installs RabbitMQ where it is missing, builds, and runs the million
# make test  runs every test, against real RabbitMQ 3.10, 4.0 and 4.3

GOLANGCI = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZTIME = 10s

.PHONY: build run test race fuzz bench lint tools
build:
	go build -o bin/thump ./cmd/thump

run: build
	scripts/install-rabbitmq
	bin/thump run

test: build tools
	scripts/with-brokers go test -count=1 -parallel 4 -timeout 20m ./...
	go -C bench test ./...

# The tutorial's programs are left out here: their minutes are pika's.
race: tools
	scripts/install-test-tools gcc libc6-dev
	scripts/with-brokers go test -count=1 -parallel 4 -timeout 20m -race -skip TestTutorialPrograms ./...

tools:
	scripts/install-rabbitmq
	scripts/install-test-tools

fuzz:
	scripts/fuzz $(FUZZTIME)

bench:
	scripts/install-rabbitmq
	THUMP_TEST_TREES= scripts/with-brokers go test -run '^$$' -bench . -benchmem ./...
	go -C bench run .

lint:
	GOBIN=$(CURDIR)/bin go install $(GOLANGCI)
	bin/golangci-lint run ./...
	cd bench && ../bin/golangci-lint run ./...
