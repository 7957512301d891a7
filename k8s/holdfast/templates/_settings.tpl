{{/* What holds for one service: `defaults` with the service's own section laid over them, and what follows from that. */}}

{{/* Lays `above` over `below`, in place: maps are merged, null removes, everything else is replaced. */}}
{{- define "holdfast.overlay" -}}
{{- $below := .below }}
{{- range $key, $value := .above }}
{{- if kindIs "invalid" $value }}
{{- $_ := unset $below $key }}
{{- else if and (kindIs "map" $value) (kindIs "map" (get $below $key)) }}
{{- include "holdfast.overlay" (dict "below" (get $below $key) "above" $value) }}
{{- else }}
{{- $_ := set $below $key $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* As JSON. Arguments: root, name. */}}
{{- define "holdfast.settings" -}}
{{- $key := ternary "vendorSync" .name (eq .name "vendor-sync") }}
{{- $own := get .root.Values $key }}
{{- $s := deepCopy .root.Values.defaults }}
{{- include "holdfast.overlay" (dict "below" $s "above" $own) }}
{{- $postgres := deepCopy .root.Values.postgres }}
{{- include "holdfast.overlay" (dict "below" $postgres "above" (default dict $own.postgres)) }}
{{- $_ := set $s "postgres" $postgres }}
{{- $_ := set $s "name" .name }}
{{- $_ := set $s "valuesKey" $key }}
{{- $_ := set $s "object" (printf "%s-%s" (include "holdfast.fullname" .root) .name) }}
{{- $_ := set $s "env" (printf "HOLDFAST_%s" (.name | upper | replace "-" "_")) }}
{{- $_ := set $s "grace" (include "holdfast.grace" $s | int) }}
{{- toJson $s }}
{{- end }}

{{/*
How long a pod may take to end: the preStop sleep, the drain, 5 s to flush, 5 s of margin. Who sets less is told, for Kubernetes would kill requests that
were promised an end in peace. The argument: settings.
*/}}
{{- define "holdfast.grace" -}}
{{- $server := default dict (get (default dict .config) "server") }}
{{- $drain := 20 }}
{{- if hasKey $server "drain_seconds_max" }}
{{- $drain = int $server.drain_seconds_max }}
{{- end }}
{{- $least := add (int .preStopSleepSeconds) $drain 5 }}
{{- $given := int .terminationGracePeriodSeconds }}
{{- if and $given (lt $given (int $least)) }}
{{- fail (printf "\n\n%s.terminationGracePeriodSeconds is %d, but ending in order takes up to %d s: preStopSleepSeconds %d + server.drain_seconds_max %d + 5 to flush.\nSet it to 0, so that the chart computes it, or to at least %d.\n" .valuesKey $given (int $least) (int .preStopSleepSeconds) $drain (int $least)) }}
{{- end }}
{{- ternary $given (add $least 5 | int) (gt $given 0) }}
{{- end }}

{{/*
Which Secret has something. Arguments: root, own (a section's existingSecret, may be empty), what (for people).
*/}}
{{- define "holdfast.secretName" -}}
{{- $name := default .root.Values.existingSecret .own }}
{{- if not $name }}
{{- fail (printf "\n\nNothing says which Secret has %s.\nMake one Secret with everything (the chart's README.md prints the command) and name it: --set existingSecret=holdfast\n" .what) }}
{{- end }}
{{- $name }}
{{- end }}

{{/* Where a key of a Secret or a ConfigMap is in the pod. Arguments: kind, name, key. */}}
{{- define "holdfast.filePath" -}}
{{- printf "/run/secrets/holdfast/%s" (include "holdfast.fileName" .) }}
{{- end }}

{{- define "holdfast.fileName" -}}
{{- ternary (printf "configmap-%s/%s" .name .key) (printf "%s/%s" .name .key) (eq .kind "configMap") }}
{{- end }}

{{/* A certificate authority as a file, JSON or nothing. Arguments: existingSecret, configMap, key. */}}
{{- define "holdfast.caFile" -}}
{{- if .existingSecret }}
{{- dict "kind" "secret" "name" .existingSecret "key" .key | toJson }}
{{- else if .configMap }}
{{- dict "kind" "configMap" "name" .configMap "key" .key | toJson }}
{{- end }}
{{- end }}

{{/* A projected volume with exactly these files, as an item of a list. The argument: a list of files. */}}
{{- define "holdfast.filesVolume" -}}
{{- $sources := dict }}
{{- range . }}
{{- $id := printf "%s %s" .kind .name }}
{{- $keys := default (dict "kind" .kind "name" .name "keys" dict) (get $sources $id) }}
{{- $_ := set $keys.keys .key (include "holdfast.fileName" .) }}
{{- $_ := set $sources $id $keys }}
{{- end -}}
- name: secrets
  projected:
    # 0440: the pod's group, which is its fsGroup, may read.
    defaultMode: 288
    sources:
      {{- range $id := keys $sources | sortAlpha }}
      {{- $source := get $sources $id }}
      - {{ $source.kind }}:
          # Quoted, as a name or a key may be made of digits.
          name: {{ $source.name | quote }}
          items:
            {{- range $key := keys $source.keys | sortAlpha }}
            - key: {{ $key | quote }}
              path: {{ get $source.keys $key | quote }}
            {{- end }}
      {{- end }}
{{- end }}
