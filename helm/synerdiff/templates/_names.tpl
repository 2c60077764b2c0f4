{{- define "synerdiff.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Labels that select: dict "root" $ "component" "gateway". */ -}}
{{- define "synerdiff.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "synerdiff.labels" -}}
{{ include "synerdiff.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "synerdiff.serviceAccount" -}}
{{- default (include "synerdiff.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- /* An image of the product: dict "root" $ "name" "synerdiff-services". */ -}}
{{- define "synerdiff.image" -}}
{{- $tag := default .root.Chart.AppVersion .root.Values.image.tag -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .name }}:{{ $tag }}
{{- end -}}

{{- /* A pool with the defaults filled in, as JSON: dict "root" $ "pool" $pool. */ -}}
{{- define "synerdiff.pool" -}}
{{- mergeOverwrite (deepCopy .root.Values.poolDefaults) (deepCopy .pool) | toJson -}}
{{- end -}}

{{- define "synerdiff.workerName" -}}
{{ include "synerdiff.fullname" .root }}-worker-{{ .pool.name }}
{{- end -}}

{{- define "synerdiff.credentials" -}}
{{ include "synerdiff.fullname" . }}-credentials
{{- end -}}

{{- define "synerdiff.valkeySecret" -}}
{{- default (include "synerdiff.credentials" .) .Values.valkey.passwordSecret -}}
{{- end -}}

{{- define "synerdiff.s3Secret" -}}
{{- if .Values.externalS3.enabled -}}
{{- .Values.externalS3.credentialsSecret -}}
{{- else -}}
{{- default (include "synerdiff.credentials" .) .Values.seaweedfs.credentialsSecret -}}
{{- end -}}
{{- end -}}
