# make         builds the module for the installed nginx
# make demo    a private bucket behind nginx, to look at (ONCE=1: show it and exit;
#              AUTH=sigv4: signed requests, not a secret header)
# make test    all tests (T="tests/test_wire.py -k slice" for some of the second half)
# make deb     a package for this Debian, in target/packages
# make rpm     a package for nginx.org's nginx 1.28, in target/packages
# make bench   what a request costs, into bench/RESULTS.md
# make test-matrix     all tests with each nginx, and the packages in clean Debians
#
# NGINX=1.28 (with all, test, demo): nginx's stable version, built in target/, not the installed one
# NGINX=trixie (with test): Debian 13 in target/, with the Debian package built there
# NGINX_SOURCE_DIR and NGINX_BUILD_DIR: a configured nginx tree to build against instead.

NGINX := debian
# nginx reads a variable of this name.
unexport NGINX
PYTHON := target/venv/bin/python
LIBRARY := libngx_http_s3_private_bucket_module.so

ifeq ($(NGINX),debian)
TREE := target/nginx
export CARGO_TARGET_DIR := target
export TEST_NGINX := /usr/sbin/nginx
# A new nginx-dev is configured anew.
TREE_OF := $(shell dpkg-query -W -f '$${Version}' nginx-dev 2>/dev/null)
else
TREE := target/nginx-$(NGINX)
export CARGO_TARGET_DIR := $(TREE)/cargo
export TEST_NGINX := $(CURDIR)/$(TREE)/objs/nginx
TREE_OF := $(NGINX)
endif
export TEST_MODULE ?= $(CURDIR)/$(CARGO_TARGET_DIR)/release/$(LIBRARY)

ifeq ($(NGINX_BUILD_DIR),)
export NGINX_SOURCE_DIR := $(CURDIR)/$(TREE)/src
export NGINX_BUILD_DIR := $(CURDIR)/$(TREE)/objs
CONFIGURED := $(TREE)/.configured-$(TREE_OF)
endif

# Set-up comes before everything else.
.NOTPARALLEL:
.PHONY: all setup test bench deb rpm test-packages test-rpm test-matrix demo lint clean
all: $(CONFIGURED)
	cargo build --release --locked

setup:
	tests/setup.sh

$(CONFIGURED): tests/nginx-tree.sh | setup
	tests/nginx-tree.sh $(TREE) $(NGINX)
	touch $@

ifeq ($(NGINX),trixie)
test: setup
	tests/setup.sh roots
	tests/trixie.sh
else
test: setup all
	cargo test --locked
	$(PYTHON) -m pytest -q $(or $(T),tests)
endif

deb: setup
	tests/setup.sh deb
	packaging/deb.sh

rpm: setup
	tests/setup.sh rpm
	$(MAKE) NGINX=1.28 all
	packaging/rpm.sh target/nginx-1.28/src

# Both Debian packages have to be there: test-matrix makes that of Debian 13.
test-packages: all deb
	tests/setup.sh roots
	$(PYTHON) -m pytest -q tests/package_deb.py $(T)

test-rpm: rpm
	TEST_NGINX=$(CURDIR)/target/nginx-1.28/objs/nginx $(PYTHON) -m pytest -q tests/package_rpm.py

test-matrix:
	$(MAKE) test
	$(MAKE) test NGINX=1.28
	$(MAKE) test NGINX=trixie
	$(MAKE) test-packages
	$(MAKE) test-rpm

demo: setup all
	$(PYTHON) tests/demo.py $(if $(ONCE),--once) $(if $(AUTH),--auth $(AUTH))

# The library that callgrind sees has its symbols.
bench: setup all
	tests/setup.sh bench
	CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
		cargo build --release --locked --target-dir target/bench
	$(PYTHON) bench/bench.py

lint: $(CONFIGURED)
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

clean:
	rm -rf target
