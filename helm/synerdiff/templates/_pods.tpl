{{- /* What every pod says: the restricted Pod Security Standard, no token, and no variables of other services (those of
a release named synerdiff would look like settings). */ -}}
{{- define "synerdiff.podSpec" -}}
serviceAccountName: {{ include "synerdiff.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "synerdiff.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Spread over nodes where there are several: dict "root" $ "component" "gateway". */ -}}
{{- define "synerdiff.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "synerdiff.selector" . | nindent 8 }}
{{- end -}}

{{- /* Settings of a map, name to value. */ -}}
{{- define "synerdiff.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- /* A list of variables with each name once, as YAML; the last one counts, where the first one was. A server-side
apply (Helm 4) refuses a name that is given twice, such as a chart's setting and the same one in `env`. Kubernetes fills
in only what stands earlier in the list, so variables that refer to others, $(NAME), come after all that do not. */ -}}
{{- define "synerdiff.lastOfEach" -}}
{{- $items := fromYamlArray . -}}
{{- $last := dict -}}
{{- $names := list -}}
{{- range $items }}{{ $_ := set $last .name . }}{{ $names = append $names .name }}{{ end -}}
{{- $plain := list -}}
{{- $referring := list -}}
{{- range $name := uniq $names -}}
{{- $item := get $last $name -}}
{{- if contains "$(" (toString $item.value) }}{{ $referring = append $referring $item }}{{ else }}{{ $plain = append $plain $item }}{{ end -}}
{{- end -}}
{{- toYaml (concat $plain $referring) -}}
{{- end -}}

{{- /* How a part of the fleet reaches Redis: dict "root" $ "part" "worker". */ -}}
{{- define "synerdiff.redisEnv" -}}
{{- $external := .root.Values.externalRedis -}}
{{- if .root.Values.valkey.enabled }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "synerdiff.valkeySecret" .root }}
      key: password
- name: SYNERDIFF_REDIS_URL
  value: redis://:$(REDIS_PASSWORD)@{{ include "synerdiff.fullname" .root }}-valkey:6379/0
{{- else if $external.urlKey }}
- name: SYNERDIFF_REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ $external.secret }}
      key: {{ replace "PART" .part $external.urlKey }}
{{- else }}
{{- $sentinel := $external.sentinel }}
{{- $options := list }}
{{- $scheme := "redis" }}
{{- $address := printf "%s:%d" $external.host (int $external.port) }}
{{- if $sentinel.hosts }}
{{- $scheme = "sentinel" }}
{{- $address = join "," $sentinel.hosts }}
{{- $options = append $options (printf "master=%s" $sentinel.master) }}
{{- if $sentinel.username }}
{{- $options = append $options (printf "sentinel_username=%s" $sentinel.username) }}
{{- end }}
{{- if $sentinel.secret }}
{{- $options = append $options "sentinel_password=$(SENTINEL_PASSWORD)" }}
- name: SENTINEL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $sentinel.secret }}
      key: {{ $sentinel.passwordKey }}
{{- end }}
{{- end }}
{{- if $external.tls.enabled }}
{{- $authorities := ternary "/etc/synerdiff/redis-ca/ca.crt" "/etc/ssl/certs/ca-certificates.crt" (ne $external.tls.caSecret "") }}
{{- $scheme = printf "%ss" $scheme }}
{{- $options = concat $options (list "ssl_cert_reqs=required" (printf "ssl_ca_certs=%s" $authorities)) }}
{{- end }}
{{- if $external.secret }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $external.secret }}
      key: {{ $external.passwordKey }}
{{- end }}
- name: SYNERDIFF_REDIS_URL
  {{- $login := printf "%s%s" $external.username (ternary ":$(REDIS_PASSWORD)" "" (ne $external.secret "")) }}
  {{- $query := ternary (printf "?%s" (join "&" $options)) "" (gt (len $options) 0) }}
  value: {{ printf "%s://%s%s/%d%s" $scheme (ternary (printf "%s@" $login) "" (ne $login "")) $address (int $external.db) $query | quote }}
{{- end }}
{{- end -}}

{{- /* The Sentinels' ports, with commas between. */ -}}
{{- define "synerdiff.sentinelPorts" -}}
{{- $ports := list -}}
{{- range .Values.externalRedis.sentinel.hosts -}}
{{- $parts := splitList ":" . -}}
{{- $ports = append $ports (ternary (last $parts) "26379" (gt (len $parts) 1)) -}}
{{- end -}}
{{- join "," $ports -}}
{{- end -}}

{{- define "synerdiff.s3Env" -}}
- name: SYNERDIFF_S3_BUCKET
  value: {{ .Values.s3.bucket | quote }}
- name: SYNERDIFF_S3_REGION
  value: {{ .Values.s3.region | quote }}
- name: SYNERDIFF_S3_PREFIX
  value: {{ .Values.s3.prefix | quote }}
{{- if .Values.seaweedfs.enabled }}
- name: SYNERDIFF_S3_ENDPOINT
  value: http://{{ include "synerdiff.fullname" . }}-seaweedfs:8333
{{- else if .Values.externalS3.endpoint }}
- name: SYNERDIFF_S3_ENDPOINT
  value: {{ .Values.externalS3.endpoint | quote }}
{{- end }}
{{- with include "synerdiff.s3Secret" . }}
- name: SYNERDIFF_S3_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: access-key
- name: SYNERDIFF_S3_SECRET_KEY
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: secret-key
{{- end }}
{{- end -}}

{{- /* What every part is told: dict "root" $ "part" "worker". */ -}}
{{- define "synerdiff.commonEnv" -}}
- name: HOME
  value: /tmp
- name: SYNERDIFF_LOG_LEVEL
  value: {{ .root.Values.log.level }}
- name: SYNERDIFF_LOG_FORMAT
  value: {{ .root.Values.log.format }}
{{- include "synerdiff.redisEnv" . }}
{{- include "synerdiff.env" .root.Values.env }}
{{- end -}}

{{- define "synerdiff.redisCaMount" -}}
{{- if and (not .Values.valkey.enabled) .Values.externalRedis.tls.enabled .Values.externalRedis.tls.caSecret }}
- name: redis-ca
  mountPath: /etc/synerdiff/redis-ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "synerdiff.redisCaVolume" -}}
{{- if and (not .Values.valkey.enabled) .Values.externalRedis.tls.enabled .Values.externalRedis.tls.caSecret }}
- name: redis-ca
  secret:
    secretName: {{ .Values.externalRedis.tls.caSecret }}
{{- end }}
{{- end -}}

{{- /* Workers and schedulers serve /healthz, /readyz and /metrics here. */ -}}
{{- define "synerdiff.metricsPort" -}}9100{{- end -}}

{{- define "synerdiff.metricsEnv" -}}
- name: SYNERDIFF_METRICS_HOST
  value: 0.0.0.0
- name: SYNERDIFF_METRICS_PORT
  value: {{ include "synerdiff.metricsPort" . | quote }}
{{- end -}}

{{- /* The name that the ledger gives the pool of a model. */ -}}
{{- define "synerdiff.ledgerPool" -}}
{{- $safe := regexReplaceAll "[^A-Za-z0-9_.-]" . "-" -}}
{{- if and (eq $safe .) (le (len .) 80) -}}
{{- . -}}
{{- else -}}
{{- printf "%s-%s" (trunc 60 $safe) (sha256sum . | trunc 8) -}}
{{- end -}}
{{- end -}}
