{{- /* The variables of a pool's workers: dict "root" $ "pool" $pool, with the defaults filled in. */ -}}
{{- define "synerdiff.workerEnv" -}}
{{- $pool := .pool -}}
{{- $weights := $pool.weights | default dict -}}
{{- include "synerdiff.commonEnv" (dict "root" .root "part" "worker") | nindent 0 }}
{{- include "synerdiff.s3Env" .root | nindent 0 }}
- name: SYNERDIFF_WORKER_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: SYNERDIFF_MODEL
  value: {{ $pool.model | quote }}
{{- if $weights.path }}
- name: SYNERDIFF_MODEL_PATH
  value: {{ $weights.path | quote }}
{{- else if $weights.hub }}
- name: SYNERDIFF_MODEL_PATH
  value: {{ $weights.hub.id | quote }}
- name: SYNERDIFF_MODEL_REVISION
  value: {{ $weights.hub.revision | quote }}
{{- else if $weights.s3 }}
- name: SYNERDIFF_MODEL_PATH
  value: {{ printf "/cache/weights/%s" $pool.name | quote }}
{{- end }}
{{- with $pool.modelHash }}
- name: SYNERDIFF_MODEL_HASH
  value: {{ . | quote }}
{{- end }}
- name: SYNERDIFF_DEVICE
  value: {{ ternary "cuda" "cpu" (gt (int $pool.gpu.count) 0) }}
- name: SYNERDIFF_DTYPE
  value: {{ $pool.dtype | default "auto" | quote }}
- name: SYNERDIFF_CAPACITY
  value: {{ $pool.capacity | int | quote }}
- name: SYNERDIFF_GRACE_S
  value: {{ $pool.graceSeconds | int | quote }}
- name: SYNERDIFF_CACHE_DIR
  value: /cache/synerdiff
# Hub downloads and compiled kernels survive with the cache volume.
- name: HF_HOME
  value: /cache/hub
- name: TORCHINDUCTOR_CACHE_DIR
  value: /cache/inductor
- name: TRITON_CACHE_DIR
  value: /cache/triton
- name: CUDA_CACHE_PATH
  value: /cache/cuda
{{- include "synerdiff.metricsEnv" .root | nindent 0 }}
{{- include "synerdiff.env" $pool.env | nindent 0 }}
{{- range $variable, $from := $pool.secretEnv }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $from.secret }}
      key: {{ $from.key }}
{{- end }}
{{- end -}}
