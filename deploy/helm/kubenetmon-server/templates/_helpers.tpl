{{- /* The names and labels of all objects, by the rules of `helm create`, as in kubenetmon's charts. */}}
{{- define "kubenetmon-server.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "kubenetmon-server.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $full | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "kubenetmon-server.labels" -}}
app.kubernetes.io/name: {{ include "kubenetmon-server.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kubenetmon-server.account" -}}
{{ .Values.serviceAccount.name | default (include "kubenetmon-server.fullname" .) }}
{{- end }}
