{{- /* Names and labels that several manifests share. */}}

{{- define "account-monitor.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "account-monitor.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "account-monitor.labels" -}}
{{ include "account-monitor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "account-monitor.metadata" -}}
name: {{ include "account-monitor.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "account-monitor.labels" . | nindent 2 }}
{{- end }}

{{- define "account-monitor.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Without a lease two replicas would both watch, correct and tell; they would also journal under one name. */}}
{{- define "account-monitor.checked" -}}
{{- if and (gt (int .Values.replicas) 1) (eq .Values.config.cluster.lease "none") }}
{{- fail (printf "replicas: was %d, expected 1: with config.cluster.lease none each replica would watch every account; set config.cluster.lease to postgres or nats first" (int .Values.replicas)) }}
{{- end }}
{{- end }}
