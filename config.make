# nginx's own rules would link a dynamic module from C objects. This one is linked by cargo, which
# keeps Rust's symbols inside: nginx shares those of its modules, and two of them may be in Rust.
#
# Installing writes a new file: a running nginx has the old one mapped.

case $NGX_OBJS in
    /*) s3_objs=$NGX_OBJS ;;
    *)  s3_objs=$PWD/$NGX_OBJS ;;
esac
# nginx itself completes the path later.
case $NGX_MODULES_PATH in
    /*) s3_modules_path=$NGX_MODULES_PATH ;;
    *)  s3_modules_path=$NGX_PREFIX/$NGX_MODULES_PATH ;;
esac
s3_module=ngx_http_s3_private_bucket_module

cat << END                                                    >> $NGX_MAKEFILE

modules:	$s3_module
install:	install_$s3_module

.PHONY:	$s3_module install_$s3_module

$s3_module:
	NGINX_SOURCE_DIR='$PWD' NGINX_BUILD_DIR='$s3_objs' cargo build --release --locked \\
		--manifest-path '$ngx_addon_dir/Cargo.toml' --target-dir '$s3_objs/$s3_module'
	cp '$s3_objs/$s3_module/release/lib$s3_module.so' '$s3_objs/$s3_module$ngx_modext'

install_$s3_module:	modules
	mkdir -p '\$(DESTDIR)$s3_modules_path'
	rm -f '\$(DESTDIR)$s3_modules_path/$s3_module$ngx_modext'
	cp '$s3_objs/$s3_module$ngx_modext' '\$(DESTDIR)$s3_modules_path/$s3_module$ngx_modext'
END
