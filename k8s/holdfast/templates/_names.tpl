{{/* Names and labels. Every name fits into 63 characters whatever the release is called. */}}

{{/* The services, by their names. Their sections in the values are called the same but for vendorSync. */}}
{{- define "holdfast.services" -}}
reservation catalog vendor-sync
{{- end }}

{{- define "holdfast.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters, so that the longest suffix fits behind it. What is cut off leaves a hash, so that two long names stay two. */}}
{{- define "holdfast.fullname" -}}
{{- $name := include "holdfast.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- $full = default $full .Values.fullnameOverride }}
{{- if gt (len $full) 40 }}
{{- $full = printf "%s-%s" ($full | trunc 33 | trimSuffix "-") (sha256sum $full | trunc 6) }}
{{- end }}
{{- $full | trimSuffix "-" }}
{{- end }}

{{/* What selects the pods of one component. It never changes: selectors are immutable. Arguments: root, name. */}}
{{- define "holdfast.selector" -}}
app.kubernetes.io/name: {{ include "holdfast.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{/* What selects the migrations of all services, for people who type it. The argument: root. */}}
{{- define "holdfast.migrations" -}}
app.kubernetes.io/instance={{ .Release.Name }},app.kubernetes.io/component in ({{ range $index, $name := splitList " " (include "holdfast.services" .) }}{{ if $index }},{{ end }}{{ $name }}-migrate{{ end }})
{{- end }}

{{/* Labels of objects, as YAML. The chart's own win over commonLabels. Arguments: root, name (the component), labels (further ones, may be missing). */}}
{{- define "holdfast.labels" -}}
{{- $own := include "holdfast.selector" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/part-of" "holdfast" }}
{{- $_ := set $own "app.kubernetes.io/version" (.root.Chart.AppVersion | toString) }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- merge $own (default dict .labels) .root.Values.commonLabels | toYaml }}
{{- end }}

{{/* Labels of pods: nothing in them changes with the chart's version, so that a new chart alone rolls nothing. Arguments: root, name, labels. */}}
{{- define "holdfast.podLabels" -}}
{{- $own := include "holdfast.selector" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/part-of" "holdfast" }}
{{- merge $own (default dict .labels) .root.Values.commonLabels | toYaml }}
{{- end }}

{{/* The metadata of an object. Arguments: root, name (the component), object (its name), labels, annotations, namespace; the last three may be missing. */}}
{{- define "holdfast.metadata" -}}
name: {{ .object | quote }}
namespace: {{ default .root.Release.Namespace .namespace | quote }}
labels:
  {{- include "holdfast.labels" . | nindent 2 }}
{{- with merge (dict) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "holdfast.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "holdfast.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* registry/repository@digest, or registry/repository:tag. */}}
{{- define "holdfast.image" -}}
{{- $image := .Values.image }}
{{- $registry := default $image.registry .Values.global.imageRegistry | trimSuffix "/" }}
{{- $name := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag | toString) }}
{{- end }}
{{- end }}
