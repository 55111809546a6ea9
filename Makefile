# What people type. Everything longer than a line is in scripts/, each with its own --help.

GO       ?= go
PREFIX   ?= /usr/local
DESTDIR  ?=
ENGINE   ?= sqlite
FUZZTIME ?= 30s
SOAK     ?= 1h

# Where there is no git (a release's archive, say), the version is dev unless it is given: make VERSION=1.2
VERSION ?= $(or $(shell git describe --tags --dirty 2>/dev/null),dev)
COMMIT  ?= $(or $(shell git rev-parse --short=12 HEAD 2>/dev/null),unknown)
# The commit's date, not the build's: the same source makes the same binaries, byte for byte.
DATE    ?= $(or $(shell git show -s --format=%cI HEAD 2>/dev/null),unknown)

cli      = github.com/molteniron/molteniron/cmd/internal/cli
ldflags  = -s -w -X $(cli).version=$(VERSION) -X $(cli).commit=$(COMMIT) -X $(cli).date=$(DATE)
programs = molten-prehook molten-posthook moltenironctl

.PHONY: help build demo test check bench fuzz soak cover install clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS='	' read -r target text; do \
		printf '  make %-8s %s\n' "$$target" "$$text"; done

build: ## build the three static programs into bin/
	@CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(ldflags)' -o bin/ $(programs:%=./cmd/%)

demo: ## show the main job, from an empty folder to a queue that moves (ENGINE=sqlite|mariadb)
	@scripts/demo $(ENGINE)

test: ## run all tests, with all servers they need (installs what is missing)
	@scripts/test

check: ## run the static checks and the short tests, before a commit
	@scripts/check

bench: ## measure allocations and hooks on SQLite and MariaDB
	@scripts/bench

fuzz: ## fuzz each parser and writer (FUZZTIME=30s each)
	@scripts/fuzz $(FUZZTIME)

soak: ## break servers, clients and the lines between them for hours (SOAK=1h)
	@scripts/soak $(SOAK)

cover: ## measure what the tests cover, into coverage.out
	@scripts/mariadb run -- $(GO) test -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -func=coverage.out | tail -n 1

install: $(if $(shell command -v $(GO)),build) ## install the programs (PREFIX=/usr/local, DESTDIR=)
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 755 $(programs:%=bin/%) '$(DESTDIR)$(PREFIX)/bin'

clean: ## remove what was built
	rm -rf bin coverage.out
