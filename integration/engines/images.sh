# Container images made on this machine: no registry can be reached.
#
# Each image is one tar file in the layout of `docker save`, which docker,
# podman and containerd all import.

BUSYBOX=wherry.test/busybox:1
NGINX=wherry.test/nginx:1

# Sets IMAGES to the directory with busybox.tar and nginx.tar. The cache is
# keyed by what went into it, so that an upgraded package makes a new one.
images_prepare() {
    local cache=${XDG_CACHE_HOME:-/var/cache}/wherry-engines key
    key=$({
        cat "${BASH_SOURCE[0]}"
        dpkg-query -W busybox-static libc6 libcrypt1 libpcre2-8-0 libssl3 zlib1g
    } | sha256sum | cut -c1-16)
    IMAGES=$cache/$key
    [ ! -f "$IMAGES/complete" ] || return 0

    mkdir -p "$cache"
    local scratch
    scratch=$(mktemp -d "$cache/making.XXXXXX")
    images_busybox "$scratch/busybox"
    images_archive "$scratch/busybox" "$BUSYBOX" '{"Cmd": ["sh"]}' "$scratch/busybox.tar"
    images_nginx "$scratch"
    images_archive "$scratch/nginx" "$NGINX" \
        '{"Cmd": ["nginx"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT"}' "$scratch/nginx.tar"
    touch "$scratch/complete"
    rm -rf "$scratch"/{busybox,nginx,deb} "$IMAGES"
    mv "$scratch" "$IMAGES"
}

# images_busybox DIR: a static busybox, its applets and a few accounts.
images_busybox() {
    local root=$1 applet
    mkdir -p "$root"/{bin,dev,etc,home,proc,root,run,sys,usr/bin,usr/sbin,var}
    mkdir -m 1777 "$root/tmp"
    cp /bin/busybox "$root/bin/busybox"
    for applet in $(/bin/busybox --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
    done
    cat >"$root/etc/passwd" <<-END
	root:x:0:0:root:/root:/bin/sh
	www-data:x:33:33:www-data:/var/www:/bin/false
	app:x:1000:1000:app:/home:/bin/sh
	END
    cat >"$root/etc/group" <<-END
	root:x:0:
	www-data:x:33:
	app:x:1000:
	extra:x:2000:app
	END
}

# images_nginx SCRATCH: SCRATCH/busybox plus Debian's nginx and the shared
# libraries that it links, taken from this host.
images_nginx() {
    local scratch=$1 root=$1/nginx library
    cp -a "$scratch/busybox" "$root"
    mkdir "$scratch/deb"
    (cd "$scratch/deb" && apt-get download -q -o APT::Sandbox::User=root nginx >&2)
    dpkg-deb -x "$scratch"/deb/nginx_*.deb "$scratch/deb/unpacked"
    install -D "$scratch/deb/unpacked/usr/sbin/nginx" "$root/usr/sbin/nginx"
    ldd "$root/usr/sbin/nginx" | grep -o '/[^ ]*' | while read -r library; do
        install -D "$library" "$root$library"
    done
    mkdir -p "$root"/{etc/nginx,var/log/nginx,var/lib/nginx,var/www}
    echo 'served by nginx' >"$root/var/www/index.html"
    cat >"$root/etc/nginx/nginx.conf" <<-'END'
	daemon off;
	user www-data;
	worker_processes 1;
	error_log /dev/stderr;
	pid /run/nginx.pid;
	events { worker_connections 64; }
	http {
	    access_log /dev/stdout;
	    server { listen 80; root /var/www; }
	}
	END
}

# images_archive ROOTFS TAG CONFIG OUT: one layer, in the `docker save` layout.
images_archive() {
    local root=$1 tag=$2 config=$3 out=$4 scratch layer image
    scratch=$(mktemp -d "$out.XXXXXX")
    tar --sort=name --numeric-owner --owner 0 --group 0 --mtime @0 -C "$root" -cf "$scratch/layer.tar" .
    layer=$(sha256sum "$scratch/layer.tar" | cut -d' ' -f1)
    jq -n --arg arch "$(dpkg --print-architecture)" --arg layer "sha256:$layer" --argjson config "$config" '{
        architecture: $arch, os: "linux", created: "2024-01-01T00:00:00Z",
        config: ($config + {Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}),
        rootfs: {type: "layers", diff_ids: [$layer]},
        history: [{created: "2024-01-01T00:00:00Z", created_by: "integration/engines"}]
    }' >"$scratch/config.json"
    image=$(sha256sum "$scratch/config.json" | cut -d' ' -f1)
    mv "$scratch/config.json" "$scratch/$image.json"
    jq -n --arg config "$image.json" --arg tag "$tag" \
        '[{Config: $config, RepoTags: [$tag], Layers: ["layer.tar"]}]' >"$scratch/manifest.json"
    tar -C "$scratch" -cf "$out" manifest.json "$image.json" layer.tar
    rm -rf "$scratch"
}
