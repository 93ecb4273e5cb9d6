"""File name extensions and their media types: ours alone, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# The system's mime.types is never asked: it makes every HLS segment (`.ts`) a translation file.
_TABLE = """
text/html                               html htm xhtm
application/xhtml+xml                   xhtml xht
text/css                                css
text/javascript                         js mjs cjs
text/plain                              txt text log conf ini cfg env diff patch asc sha256 sha512 md5 srt
text/plain                              py pyi rb go rs c h cc cpp hpp java kt swift sh bash zsh fish pl lua
text/plain                              tsx mts cts jsx vue svelte scss sass less sql r jl hs ml ex exs
text/plain                              erl clj rst adoc org tex nix zig sol
text/markdown                           md markdown mkd
text/csv                                csv
text/tab-separated-values               tsv
text/calendar                           ics
text/vcard                              vcf
text/vtt                                vtt
text/xml                                xsl xslt
application/xml                         xml xsd
application/rss+xml                     rss
application/atom+xml                    atom
application/gpx+xml                     gpx
application/vnd.google-earth.kml+xml    kml
application/vnd.google-earth.kmz        kmz
application/json                        json map json5 ipynb topojson
application/ld+json                     jsonld
application/geo+json                    geojson
application/manifest+json               webmanifest
application/feed+json                   jsonfeed
application/x-ndjson                    ndjson jsonl
application/yaml                        yaml yml
application/toml                        toml
application/wasm                        wasm
application/cbor                        cbor
application/vnd.ipld.dag-cbor           dag-cbor
application/vnd.ipld.dag-json           dag-json
application/vnd.ipld.car                car
application/vnd.ipfs.ipns-record        ipns-record
image/png                               png
image/apng                              apng
image/jpeg                              jpg jpeg jpe jfif pjpeg
image/gif                               gif
image/webp                              webp
image/avif                              avif
image/heic                              heic
image/heif                              heif
image/jxl                               jxl
image/jp2                               jp2
image/svg+xml                           svg
image/x-icon                            ico cur
image/bmp                               bmp dib
image/tiff                              tif tiff
image/vnd.adobe.photoshop               psd
video/mp4                               mp4 m4v mp4v
video/webm                              webm
video/ogg                               ogv
video/quicktime                         mov qt
video/x-matroska                        mkv mk3d
video/x-msvideo                         avi
video/x-flv                             flv
video/mpeg                              mpg mpeg mpe
video/mp2t                              ts m2ts mts2
video/iso.segment                       m4s cmfv
video/3gpp                              3gp
application/vnd.apple.mpegurl           m3u8
audio/x-mpegurl                         m3u
application/dash+xml                    mpd
audio/mpeg                              mp3 mpga
audio/mp4                               m4a m4b cmfa
audio/aac                               aac
audio/ogg                               ogg oga spx
audio/opus                              opus
audio/flac                              flac
audio/wav                               wav wave
audio/webm                              weba
audio/aiff                              aif aiff aifc
audio/midi                              mid midi
audio/x-ms-wma                          wma
font/woff                               woff
font/woff2                              woff2
font/ttf                                ttf
font/otf                                otf
font/collection                         ttc
application/vnd.ms-fontobject           eot
application/pdf                         pdf
application/epub+zip                    epub
application/x-mobipocket-ebook          mobi
application/postscript                  ps eps ai
application/rtf                         rtf
application/msword                      doc
application/vnd.ms-excel                xls
application/vnd.ms-powerpoint           ppt
application/vnd.openxmlformats-officedocument.wordprocessingml.document     docx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet           xlsx
application/vnd.openxmlformats-officedocument.presentationml.presentation   pptx
application/vnd.oasis.opendocument.text            odt
application/vnd.oasis.opendocument.spreadsheet     ods
application/vnd.oasis.opendocument.presentation    odp
application/zip                         zip
application/gzip                        gz tgz
application/x-tar                       tar
application/x-bzip2                     bz2 tbz2
application/x-xz                        xz txz
application/zstd                        zst tzst
application/x-lz4                       lz4
application/x-7z-compressed             7z
application/vnd.rar                     rar
application/java-archive                jar war
application/vnd.android.package-archive apk
application/vnd.debian.binary-package   deb udeb
application/x-rpm                       rpm
application/x-apple-diskimage           dmg
application/x-iso9660-image             iso
application/vnd.flatpak                 flatpak
application/x-msdownload                exe dll msi
application/zip                         whl nupkg xpi crx
application/x-sqlite3                   sqlite sqlite3 db
application/vnd.apache.parquet          parquet
application/vnd.apache.arrow.file       arrow feather
application/vnd.apache.arrow.stream     arrows
application/x-hdf5                      h5 hdf5 he5
application/x-netcdf                    nc cdf
application/vnd.pmtiles                 pmtiles
application/vnd.mapbox-vector-tile      mvt
application/x-protobuf                  pbf pb
application/vnd.geopackage+sqlite3      gpkg
application/warc                        warc
application/wacz                        wacz
application/x-bittorrent                torrent
application/x-shockwave-flash           swf
application/pgp-signature               sig
application/pgp-keys                    gpg
application/x-x509-ca-cert              crt cer
application/x-pem-file                  pem
application/octet-stream                bin dat img npy npz pt pth onnx safetensors gguf blend
model/gltf-binary                       glb
model/gltf+json                         gltf
model/obj                               obj
model/mtl                               mtl
model/stl                               stl
model/3mf                               3mf
model/vnd.usdz+zip                      usdz
"""

# Text that is not self-describing: without the parameter browsers guess an 8-bit encoding.
_UTF8 = frozenset({"application/yaml", "application/toml", "image/svg+xml", "application/manifest+json"})


def _load() -> dict[str, str]:
    types: dict[str, str] = {}
    for line in _TABLE.split("\n"):
        media, *extensions = line.split() or [""]
        text = media.startswith("text/") or media in _UTF8
        for extension in extensions:
            types[extension] = f"{media}; charset=utf-8" if text else media
    return types


TYPES: Mapping[str, str] = MappingProxyType(_load())


def type_of_name(name: str) -> str | None:
    """The type that a file name's extension stands for, or None."""
    stem, dot, extension = name.rpartition(".")
    return TYPES.get(extension.lower()) if dot and stem else None
