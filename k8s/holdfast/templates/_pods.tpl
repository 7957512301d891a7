{{/* What all pods of the chart share, so that none of them can forget a part. */}}

{{/* The head of a pod's spec. Arguments: root, s (settings), serviceAccount (a name, or empty for none). */}}
{{- define "holdfast.podHead" -}}
{{- with .serviceAccount }}
serviceAccountName: {{ . | quote }}
{{- end }}
automountServiceAccountToken: false
# Holdfast takes no variable from Kubernetes, and there may be hundreds in a namespace.
enableServiceLinks: false
{{- with concat .root.Values.global.imagePullSecrets .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") . | quote }}
  {{- end }}
{{- end }}
{{- with .s.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .s.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .s.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .s.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .s.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .s.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The head of a container: image and rights. The image has one program; its entry point is never replaced. Arguments: root, s. */}}
{{- define "holdfast.containerHead" -}}
image: {{ include "holdfast.image" .root | quote }}
{{- with .root.Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- with .s.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
Environment variables as a list without duplicates, sorted by name. The user's replace the chart's. Arguments: own (by name), extra (by name).
*/}}
{{- define "holdfast.env" -}}
{{- $all := deepCopy .own }}
{{- range $name, $value := default dict .extra }}
{{- if kindIs "invalid" $value }}
{{- $_ := unset $all $name }}
{{- else }}
{{- $_ := set $all $name $value }}
{{- end }}
{{- end }}
{{- range $name := keys $all | sortAlpha }}
{{- $value := get $all $name }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else if regexMatch "://[^/?#\\s]*:[^/?#\\s]*@" (toString $value) }}
  {{- fail (printf "\n\nThe environment variable %s has a password in a URL. Put it into a Secret: {valueFrom: {secretKeyRef: {name: …, key: …}}}\n" $name) }}
  {{- else }}
  value: {{ kindIs "float64" $value | ternary (include "holdfast.tomlValue" $value) (toString $value) | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* A probe on the admin port. Arguments: path, probe. */}}
{{- define "holdfast.probe" -}}
httpGet:
  path: {{ .path }}
  port: admin
{{- range $key := keys .probe | sortAlpha }}
{{ $key }}: {{ get $.probe $key }}
{{- end }}
{{- end }}

{{/* Where replicas go. Arguments: root, s. */}}
{{- define "holdfast.spread" -}}
{{- $selector := include "holdfast.selector" (dict "root" .root "name" .s.name) }}
{{- if .s.topologySpreadConstraints }}
{{- toYaml .s.topologySpreadConstraints }}
{{- else }}
{{- range tuple (tuple "topology.kubernetes.io/zone" .s.topologySpread.zones) (tuple "kubernetes.io/hostname" .s.topologySpread.hosts) }}
{{- if ne (index . 1) "off" }}
- maxSkew: 1
  topologyKey: {{ index . 0 }}
  whenUnsatisfiable: {{ index . 1 }}
  labelSelector:
    matchLabels:
      {{- $selector | nindent 6 }}
  # Replicas of an older version do not count, or a rollout would push the new ones together.
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end }}
{{- end }}
