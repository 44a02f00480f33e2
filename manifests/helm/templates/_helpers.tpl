{{/* The name of most objects, and the beginning of the others' names. */}}
{{- define "bramble.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains "bramble" .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-bramble" .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What selects the agents' pods. It cannot change for a DaemonSet that is there. */}}
{{- define "bramble.selector" -}}
app.kubernetes.io/name: bramble
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bramble.labels" -}}
{{ include "bramble.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "bramble.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "bramble.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "bramble.fullname" .) }}
{{- else }}
{{- required "serviceAccount.name: name the ServiceAccount that is there, or set serviceAccount.create" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The PodSecurity level that the namespace has to allow. */}}
{{- define "bramble.podSecurity" -}}
{{- if or (eq .Values.persistence.type "hostPath") .Values.hostPort.enabled .Values.hostNetwork.enabled }}privileged{{ else }}restricted{{ end }}
{{- end }}

{{- define "bramble.scrapeAnnotations" -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ . | quote }}
prometheus.io/path: /metrics
{{- end }}

{{/* The environment that a change of values rolls out, as a map. */}}
{{- define "bramble.environment" -}}
TRACE_CLUSTER_NAME: {{ .Values.traces.clusterName | quote }}
TRACE_ENVIRONMENT: {{ .Values.traces.environment | quote }}
{{- if not (kindIs "invalid" .Values.traces.samplingPercentage) }}
TRACE_SAMPLING_PERCENTAGE: {{ .Values.traces.samplingPercentage | toString | quote }}
{{- end }}
{{- if .Values.persistence.maxSizeMiB }}
BRAMBLE_MAX_SIZE_MIB: {{ .Values.persistence.maxSizeMiB | int64 | toString | quote }}
{{- else if eq .Values.persistence.type "hostPath" }}
BRAMBLE_MAX_SIZE_MIB: "10240"
{{- end }}
{{- if .Values.forward.enabled }}
TEMPO_OTLP_GRPC_ENDPOINT: {{ .Values.forward.endpoint | quote }}
{{- if not .Values.forward.insecure }}
TEMPO_OTLP_INSECURE: "false"
{{- end }}
{{- end }}
{{- if .Values.remoteWrite.enabled }}
PROMETHEUS_REMOTE_WRITE_URL: {{ .Values.remoteWrite.url | quote }}
{{- with .Values.remoteWrite.tenant }}
PROMETHEUS_TENANT: {{ . | quote }}
{{- end }}
{{- with .Values.remoteWrite.clusterLabel }}
CLUSTER_NAME: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The files of the configuration in the order in which they are merged, separated by blanks. */}}
{{- define "bramble.configFiles" -}}
bramble.yaml
{{- if .Values.cluster.enabled }} cluster.yaml{{ end }}
{{- if .Values.production.enabled }} production.yaml{{ end }}
{{- if .Values.forward.enabled }} forward.yaml{{ end }}
{{- if .Values.remoteWrite.enabled }} remote-write.yaml remote-write-node.yaml{{ end }}
{{- end }}

{{/* What no schema can say. */}}
{{- define "bramble.check" -}}
{{- if and .Values.forward.enabled (not .Values.cluster.enabled) }}
{{- fail "forward.enabled: set cluster.enabled too: which traces are forwarded is decided where a trace is whole" }}
{{- end }}
{{- end }}
