{{/*
The configuration of a service: what the values say under `config`, and what the chart knows by itself (addresses, stores, tokens), which wins.
Secrets are in it as paths only.
*/}}

{{/*
How Postgres is reached, as JSON: {config: keys of [postgres], files: […]}. Arguments: root, s (settings), who: run or migrate.
The owning role's credentials never reach a pod that serves. A migration gets the owning role's, and of the running role the name only: it lets that one read
which migrations there are.
*/}}
{{- define "holdfast.postgres" -}}
{{- $p := .s.postgres }}
{{- $m := $p.migrate }}
{{- $migrate := eq .who "migrate" }}
{{- $own := ternary (default $p.existingSecret $m.existingSecret) $p.existingSecret $migrate }}
{{- $what := printf "%s's Postgres credentials (%s.postgres%s)" .s.name .s.valuesKey (ternary ".migrate" "" $migrate) }}
{{- $secret := include "holdfast.secretName" (dict "root" .root "own" $own "what" $what) }}
{{- $host := ternary (default $p.host $m.host) $p.host $migrate }}
{{- $config := dict }}
{{- $files := list }}
{{- $prefix := ternary "migrate_" "" $migrate }}
{{- if $migrate }}
{{- $_ := set $config "url" (printf "postgres://127.0.0.1/%s" $p.database) }}
{{- $_ := set $config "user" $p.user }}
{{- end }}
{{- if $host }}
{{- if contains "@" $host }}
{{- fail (printf "\n\npostgres.host of %s has an @ in it: it is a host's name only. User and password come from the Secret (README.md, \"Secrets\").\n" .s.name) }}
{{- end }}
{{- if contains ":" $host }}
{{- fail (printf "\n\npostgres.host of %s is %s: it is a name or an IPv4 address. A port is postgres.port; an IPv6 address the client cannot reach by its digits, so give it a name.\n" .s.name $host) }}
{{- end }}
{{- $port := ternary (default $p.port $m.port) $p.port $migrate | int }}
{{- $url := printf "postgres://%s:%d/%s?sslmode=%s" $host $port $p.database $p.sslmode }}
{{- with include "holdfast.caFile" $p.ca }}
{{- $ca := fromJson . }}
{{- $files = append $files $ca }}
{{- $url = printf "%s&sslrootcert=%s" $url (include "holdfast.filePath" $ca) }}
{{- end }}
{{- $password := dict "kind" "secret" "name" $secret "key" (ternary $m.passwordKey $p.passwordKey $migrate) }}
{{- $files = append $files $password }}
{{- $_ := set $config (print $prefix "url") $url }}
{{- $_ := set $config (print $prefix "user") (ternary $m.user $p.user $migrate) }}
{{- $_ := set $config (print $prefix "password_file") (include "holdfast.filePath" $password) }}
{{- else }}
{{- $file := dict "kind" "secret" "name" $secret "key" (ternary $m.urlKey $p.urlKey $migrate) }}
{{- $files = append $files $file }}
{{- with include "holdfast.caFile" $p.ca }}
{{- $files = append $files (fromJson .) }}
{{- end }}
{{- $_ := set $config (print $prefix "url_file") (include "holdfast.filePath" $file) }}
{{- end }}
{{- dict "config" $config "files" $files | toJson }}
{{- end }}

{{/* How Redis is reached, as JSON: {config: keys of [gate], files: […]}. The argument: root. */}}
{{- define "holdfast.redis" -}}
{{- $r := .Values.redis }}
{{- if contains "@" $r.url }}
{{- fail "\n\nredis.url has a user or a password in it. Give the user as redis.user, and the password as a key of a Secret (redis.passwordKey); or leave redis.url empty and put the whole URL into a Secret (redis.urlKey).\n" }}
{{- end }}
{{- $config := dict }}
{{- $files := list }}
{{- if ne $r.mode "single" }}
{{- $_ := set $config "mode" $r.mode }}
{{- end }}
{{- if or (not $r.url) $r.passwordKey }}
{{- $secret := include "holdfast.secretName" (dict "root" . "own" $r.existingSecret "what" "Redis' credentials (redis)") }}
{{- $file := dict "kind" "secret" "name" $secret "key" (ternary $r.passwordKey $r.urlKey (ne $r.url "")) }}
{{- $files = append $files $file }}
{{- $_ := set $config (ternary "password_file" "url_file" (ne $r.url "")) (include "holdfast.filePath" $file) }}
{{- end }}
{{- if $r.url }}
{{- $_ := set $config "url" $r.url }}
{{- with $r.user }}
{{- $_ := set $config "user" . }}
{{- end }}
{{- end }}
{{- with include "holdfast.caFile" $r.ca }}
{{- $ca := fromJson . }}
{{- $files = append $files $ca }}
{{- $_ := set $config "ca_file" (include "holdfast.filePath" $ca) }}
{{- end }}
{{- with $r.client.existingSecret }}
{{- range $key, $item := dict "client_cert_file" $r.client.certKey "client_key_file" $r.client.keyKey }}
{{- $file := dict "kind" "secret" "name" $r.client.existingSecret "key" $item }}
{{- $files = append $files $file }}
{{- $_ := set $config $key (include "holdfast.filePath" $file) }}
{{- end }}
{{- end }}
{{- dict "config" $config "files" $files | toJson }}
{{- end }}

{{/* Everybody who may call a service, as a JSON list of {name, roles, file}. Arguments: root, name (the service). */}}
{{- define "holdfast.callers" -}}
{{- $root := .root }}
{{- $service := .name }}
{{- $callers := list }}
{{- range tuple (tuple "catalog" "catalog" (list "reservation" "vendor-sync")) (tuple "vendor-sync" "vendorSync" (list "reservation" "catalog")) }}
{{- $caller := index . 0 }}
{{- $own := get $root.Values (index . 1) }}
{{- if has $service (index . 2) }}
{{- $secret := include "holdfast.secretName" (dict "root" $root "own" $own.tokenExistingSecret "what" (printf "%s's token" $caller)) }}
{{- $callers = append $callers (dict "name" $caller "roles" (list $caller) "file" (dict "kind" "secret" "name" $secret "key" $own.tokenKey)) }}
{{- end }}
{{- end }}
{{- if $root.Values.tests.enabled }}
{{- $secret := include "holdfast.secretName" (dict "root" $root "own" $root.Values.tests.existingSecret "what" "the canary's token (tests)") }}
{{- $callers = append $callers (dict "name" "canary" "roles" (list "checkout" "merchandiser") "file" (dict "kind" "secret" "name" $secret "key" $root.Values.tests.tokenKey)) }}
{{- end }}
{{- range $root.Values.callers }}
{{- if has $service (default (list "reservation" "catalog" "vendor-sync") .services) }}
{{- $secret := include "holdfast.secretName" (dict "root" $root "own" .existingSecret "what" (printf "the token of the caller %s" .name)) }}
{{- $callers = append $callers (dict "name" .name "roles" .roles "file" (dict "kind" "secret" "name" $secret "key" .key)) }}
{{- end }}
{{- end }}
{{- toJson $callers }}
{{- end }}

{{/* The address of a service for the others. Arguments: root, name. */}}
{{- define "holdfast.endpoint" -}}
{{- $s := include "holdfast.settings" . | fromJson }}
{{- printf "http://%s:%d" $s.object (int $s.ports.grpc) }}
{{- end }}

{{/* Where holdctl finds the services: environment variables by name, as JSON. The argument: root. */}}
{{- define "holdfast.endpoints" -}}
{{- $env := dict }}
{{- range splitList " " (include "holdfast.services" .) }}
{{- $_ := set $env (printf "HOLDFAST_%s_ENDPOINT" (. | upper | replace "-" "_")) (include "holdfast.endpoint" (dict "root" $ "name" .)) }}
{{- end }}
{{- toJson $env }}
{{- end }}

{{/* Everything together, as JSON: {config: by section, files: […]}. Arguments: root, s. */}}
{{- define "holdfast.config" -}}
{{- $root := .root }}
{{- $s := .s }}
{{- $config := deepCopy (default dict $s.config) }}
{{- $files := list }}
{{- $chart := dict }}
{{- $_ := set $chart "server" (dict "grpc_listen" (printf "%s:%d" $s.listenAddress (int $s.ports.grpc)) "admin_listen" (printf "%s:%d" $s.listenAddress (int $s.ports.admin))) }}
{{- $postgres := include "holdfast.postgres" (dict "root" $root "s" $s "who" "run") | fromJson }}
{{- $_ := set $chart "postgres" $postgres.config }}
{{- $files = concat $files $postgres.files }}
{{- $callers := list }}
{{- range include "holdfast.callers" (dict "root" $root "name" $s.name) | fromJsonArray }}
{{- $files = append $files .file }}
{{- $callers = append $callers (dict "name" .name "roles" .roles "token_file" (include "holdfast.filePath" .file)) }}
{{- end }}
{{- $_ := set $chart "callers" (dict "list" $callers) }}
{{- if not (hasKey (default dict $config.telemetry) "log_format") }}
{{- $_ := set $chart "telemetry" (dict "log_format" "json") }}
{{- end }}
{{- if eq $s.name "reservation" }}
{{- $redis := include "holdfast.redis" $root | fromJson }}
{{- $_ := set $chart "gate" $redis.config }}
{{- $files = concat $files $redis.files }}
{{- else }}
{{- $secret := include "holdfast.secretName" (dict "root" $root "own" $s.tokenExistingSecret "what" (printf "%s's token" $s.name)) }}
{{- $token := dict "kind" "secret" "name" $secret "key" $s.tokenKey }}
{{- $files = append $files $token }}
{{- range tuple "reservation" (ternary "vendor-sync" "catalog" (eq $s.name "catalog")) }}
{{- $_ := set $chart (replace "-" "_" .) (dict "endpoint" (include "holdfast.endpoint" (dict "root" $root "name" .)) "token_file" (include "holdfast.filePath" $token)) }}
{{- end }}
{{- end }}
{{- if eq $s.name "vendor-sync" }}
{{- if $s.drop.enabled }}
{{- $_ := set $chart "drop" (dict "root" "/var/lib/holdfast/drop") }}
{{- end }}
{{- $pull := dict }}
{{- with include "holdfast.caFile" $s.pull.ca }}
{{- $ca := fromJson . }}
{{- $files = append $files $ca }}
{{- $_ := set $pull "certificates" (include "holdfast.filePath" $ca) }}
{{- end }}
{{- $credentials := list }}
{{- range $s.pull.credentials }}
{{- $secret := include "holdfast.secretName" (dict "root" $root "own" .existingSecret "what" (printf "the credential %s (vendorSync.pull)" .name)) }}
{{- $file := dict "kind" "secret" "name" $secret "key" .key }}
{{- $files = append $files $file }}
{{- $credentials = append $credentials (dict "name" .name "token_file" (include "holdfast.filePath" $file)) }}
{{- end }}
{{- if $credentials }}
{{- $_ := set $pull "credentials" $credentials }}
{{- end }}
{{- if $pull }}
{{- $_ := set $chart "pull" $pull }}
{{- end }}
{{- end }}
{{- include "holdfast.overlay" (dict "below" $config "above" $chart) }}
{{- dict "config" $config "files" $files | toJson }}
{{- end }}

{{/* A configuration as TOML. The argument: by section. */}}
{{- define "holdfast.toml" -}}
{{- range $section := keys . | sortAlpha }}
[{{ $section }}]
{{- $keys := get $ $section }}
{{- range $key := keys $keys | sortAlpha }}
{{- $value := get $keys $key }}
{{- if and (kindIs "slice" $value) $value (kindIs "map" (first $value)) }}
{{ $key }} = [
{{- range $value }}
  {{ include "holdfast.tomlValue" . }},
{{- end }}
]
{{- else }}
{{ $key }} = {{ include "holdfast.tomlValue" $value }}
{{- end }}
{{- end }}
{{ end }}
{{- end }}

{{/* Helm reads every number as a fraction; whole ones are written as whole numbers again. */}}
{{- define "holdfast.tomlValue" -}}
{{- if kindIs "string" . }}
{{- if regexMatch "://[^/?#\\s]*:[^/?#\\s]*@" . }}
{{- fail (printf "\n\nA value has a password in a URL: %s\nPut it into a Secret and name the key (README.md, \"Secrets\").\n" (regexReplaceAll "://[^@]*@" . "://…@")) }}
{{- end }}
{{- toRawJson . }}
{{- else if kindIs "float64" . }}
{{- ternary (printf "%.0f" .) (toString .) (eq . (floor .)) }}
{{- else if kindIs "slice" . -}}
[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "holdfast.tomlValue" $item }}{{ end }}]
{{- else if kindIs "map" . -}}
{{- $map := . -}}
{ {{ range $index, $key := keys $map | sortAlpha }}{{ if $index }}, {{ end }}{{ $key }} = {{ include "holdfast.tomlValue" (get $map $key) }}{{ end }} }
{{- else }}
{{- . }}
{{- end }}
{{- end }}
