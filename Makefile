# make         builds the module for the installed nginx
# make demo    a private bucket behind nginx, to look at (ONCE=1: show it and exit;
#              AUTH=sigv4: signed requests, not a secret header; AUTH=assume_role: with keys of STS
#              that live for seconds)
# make test    all tests (T="tests/test_wire.py -k slice" for some of the second half)
# make deb     a package for this Debian, in target/packages
# make rpm     a package for nginx.org's nginx 1.28, in target/packages
# make bench   what a request costs, into bench/RESULTS.md (QUICK=1: instructions only, writes nothing)
# make torture what it withstands, into bench/TORTURE.md (QUICK=1: the short form, T=...: some of it;
#              both write nothing)
# make test-matrix     all tests with each nginx, and the packages in clean Debians
#
# NGINX=1.28 (with all, test, demo): nginx's stable version, built in target/, not the installed one
# NGINX=trixie (with test): Debian 13 in target/, with the Debian package built there
# NGINX_SOURCE_DIR and NGINX_BUILD_DIR: a configured nginx tree to build against instead; if it has
# been built too, its nginx is the one that is tested.
# TEST_NGINX, TEST_MODULE: the nginx, and the file of the module, that are tested whatever else is said.

NGINX := debian
# nginx reads a variable of this name.
unexport NGINX
PYTHON := target/venv/bin/python
LIBRARY := libngx_http_s3_private_bucket_module.so

ifeq ($(NGINX),debian)
TREE := target/nginx
export CARGO_TARGET_DIR := target
export TEST_NGINX ?= $(or $(wildcard $(NGINX_BUILD_DIR)/nginx),/usr/sbin/nginx)
# A new nginx-dev is configured anew.
TREE_OF := $(shell dpkg-query -W -f '$${Version}' nginx-dev 2>/dev/null)
else
TREE := target/nginx-$(NGINX)
export CARGO_TARGET_DIR := $(TREE)/cargo
export TEST_NGINX ?= $(CURDIR)/$(TREE)/objs/nginx
TREE_OF := $(NGINX)
endif
export TEST_MODULE ?= $(CURDIR)/$(CARGO_TARGET_DIR)/release/$(LIBRARY)

ifeq ($(NGINX_BUILD_DIR),)
export NGINX_SOURCE_DIR := $(CURDIR)/$(TREE)/src
export NGINX_BUILD_DIR := $(CURDIR)/$(TREE)/objs
CONFIGURED := $(TREE)/.configured-$(TREE_OF)
endif

# make for another nginx, without what this one exports.
FRESH := env -u NGINX_SOURCE_DIR -u NGINX_BUILD_DIR -u TEST_NGINX -u TEST_MODULE $(MAKE)

# Set-up comes before everything else.
.NOTPARALLEL:
.PHONY: all setup test bench torture deb rpm test-packages test-rpm test-matrix demo lint clean
all: $(CONFIGURED)
	cargo build --release --locked

setup:
	tests/setup.sh

$(CONFIGURED): tests/nginx-tree.sh | setup
	tests/nginx-tree.sh $(TREE) $(NGINX)
	touch $@

ifeq ($(NGINX),trixie)
test:
	tests/setup.sh roots
	tests/trixie.sh
else
test: setup all
	cargo test --locked
	$(PYTHON) -m pytest -q $(or $(T),tests)
endif

deb:
	tests/setup.sh deb
	packaging/deb.sh

rpm:
	tests/setup.sh rpm
	$(FRESH) NGINX=1.28 all
	packaging/rpm.sh target/nginx-1.28/src

# Both Debian packages have to be there: test-matrix makes that of Debian 13.
test-packages: all deb
	tests/setup.sh roots
	$(PYTHON) -m pytest -q tests/package_deb.py $(T)

test-rpm: rpm
	TEST_NGINX=$(CURDIR)/target/nginx-1.28/objs/nginx \
	TEST_MODULE=$(CURDIR)/target/nginx-1.28/cargo/release/$(LIBRARY) \
		$(PYTHON) -m pytest -q tests/package_rpm.py

test-matrix:
	$(FRESH) test
	$(FRESH) test NGINX=1.28
	$(FRESH) test NGINX=trixie
	$(FRESH) test-packages
	$(FRESH) test-rpm

demo: setup all
	$(PYTHON) tests/demo.py $(if $(ONCE),--once) $(if $(AUTH),--auth $(AUTH))

# The library that callgrind sees has its symbols.
bench: all
	tests/setup.sh bench
	CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
		cargo build --release --locked --target-dir target/bench
	$(PYTHON) bench/bench.py $(if $(QUICK),--quick)

# Memory is looked at in an nginx of its own. The fuzzers get their coverage from LLVM.
SANCOV := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
MALLOC := target/nginx-1.28-malloc
$(MALLOC)/.configured: tests/nginx-tree.sh
	tests/nginx-tree.sh $(MALLOC) 1.28-malloc
	touch $@

torture: setup all
	tests/setup.sh torture
	$(FRESH) NGINX=1.28 all
	$(FRESH) $(MALLOC)/.configured
	RUSTFLAGS="$(SANCOV)" cargo build --release --locked --manifest-path tests/fuzz/Cargo.toml \
		--target-dir target/fuzz --target $$(rustc -vV | sed -n 's/host: //p')
	$(PYTHON) -m pytest -q $(if $(QUICK),--quick) $(if $(QUICK)$(T),,--report bench/TORTURE.md) \
		$(or $(T),tests/torture_*.py)

lint: $(CONFIGURED)
	cargo fmt --check
	cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings
	python3 tests/floors.py

clean:
	rm -rf target
