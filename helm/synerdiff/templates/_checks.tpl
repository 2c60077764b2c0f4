{{- /* End with a sentence. `helm lint` only logs what `fail` says and goes on: there the look-up of a template that is
called like the sentence ends it. */ -}}
{{- define "synerdiff.mistake" -}}
{{- fail . -}}
{{- include . "" -}}
{{- end -}}

{{- /* Mistakes that a schema cannot see; each ends the rendering with a sentence. */ -}}
{{- define "synerdiff.checks" -}}
{{- include "synerdiff.checkRedis" . -}}
{{- include "synerdiff.checkS3" . -}}
{{- $seen := dict -}}
{{- range $index, $given := .Values.pools -}}
{{- $pool := include "synerdiff.pool" (dict "root" $ "pool" $given) | fromJson -}}
{{- if hasKey $seen $pool.name -}}
{{- include "synerdiff.mistake" (printf "pools[%d].name: '%s' is the name of pools[%d] already; give each pool its own" $index $pool.name (get $seen $pool.name | int)) -}}
{{- end -}}
{{- $_ := set $seen $pool.name $index -}}
{{- include "synerdiff.checkPool" (dict "root" $ "pool" $pool "at" (printf "pools[%d] (%s)" $index $pool.name)) -}}
{{- end -}}
{{- if and .Values.gateway.ingress.enabled (not .Values.gateway.ingress.host) -}}
{{- include "synerdiff.mistake" "gateway.ingress.host: empty, but gateway.ingress.enabled is true; give the host name" -}}
{{- end -}}
{{- if gt (int .Values.gateway.autoscaling.min) (int .Values.gateway.autoscaling.max) -}}
{{- include "synerdiff.mistake" (printf "gateway.autoscaling.min: %d is more than gateway.autoscaling.max, which is %d" (int .Values.gateway.autoscaling.min) (int .Values.gateway.autoscaling.max)) -}}
{{- end -}}
{{- end -}}

{{- define "synerdiff.checkPool" -}}
{{- $pool := .pool -}}
{{- with $pool.autoscaling -}}
{{- if not $.root.Values.keda.enabled -}}
{{- include "synerdiff.mistake" (printf "%s.autoscaling: needs KEDA, and keda.enabled is false; install KEDA and set keda.enabled=true, or give the pool replicas instead" $.at) -}}
{{- end -}}
{{- if not $.root.Values.gateway.enabled -}}
{{- include "synerdiff.mistake" (printf "%s.autoscaling: KEDA reads the open jobs from the gateway, and gateway.enabled is false" $.at) -}}
{{- end -}}
{{- if gt (int .min) (int .max) -}}
{{- include "synerdiff.mistake" (printf "%s.autoscaling.min: %d is more than max, which is %d" $.at (int .min) (int .max)) -}}
{{- end -}}
{{- end -}}
{{- $weights := $pool.weights | default dict -}}
{{- if gt (len $weights) 1 -}}
{{- include "synerdiff.mistake" (printf "%s.weights: give one of path, hub and s3; got %s" $.at (keys $weights | sortAlpha | join ", ")) -}}
{{- end -}}
{{- if and (eq (len $weights) 0) (ne $pool.model "tiny-emoji") -}}
{{- include "synerdiff.mistake" (printf "%s.weights: empty, and '%s' is not the shipped model (tiny-emoji); say where its weights are with path, hub or s3" $.at $pool.model) -}}
{{- end -}}
{{- if and $weights.path (not $pool.modelVolume) -}}
{{- include "synerdiff.mistake" (printf "%s.weights.path: %s is in no volume; give modelVolume, which is mounted at /models" $.at $weights.path) -}}
{{- end -}}
{{- if and (eq $pool.cache.type "hostPath") (not $pool.cache.path) -}}
{{- include "synerdiff.mistake" (printf "%s.cache.path: empty, but cache.type is hostPath; give the directory on the node" $.at) -}}
{{- end -}}
{{- if and (eq (int $pool.gpu.count) 0) (eq ($pool.dtype | default "auto") "float16") -}}
{{- include "synerdiff.mistake" (printf "%s.dtype: float16 needs a GPU, and gpu.count is 0; use auto, float32 or bfloat16" $.at) -}}
{{- end -}}
{{- $most := int $pool.replicas -}}
{{- with $pool.autoscaling }}{{ $most = int .max }}{{ end -}}
{{- if and (eq $pool.cache.type "pvc") (ne $pool.cache.accessMode "ReadWriteMany") (gt $most 1) -}}
{{- include "synerdiff.mistake" (printf "%s.cache.accessMode: %s lets one node mount the claim, but the pool may have %d workers; use ReadWriteMany or cache.type emptyDir" $.at $pool.cache.accessMode $most) -}}
{{- end -}}
{{- end -}}

{{- /* Bytes of a Kubernetes quantity (2Gi) or of a size as Valkey reads it (1gb); 0 where it is neither. */ -}}
{{- define "synerdiff.bytes" -}}
{{- $number := regexFind "^[0-9.]+([eE][+]?[0-9]+)?" . -}}
{{- $units := dict "" 1 "Ki" 1024 "kb" 1024 "Mi" 1048576 "mb" 1048576 "Gi" 1073741824 "gb" 1073741824 -}}
{{- $units = merge $units (dict "k" 1000 "m" 1000000 "M" 1000000 "g" 1000000000 "G" 1000000000) -}}
{{- $units = merge $units (dict "T" 1000000000000 "Ti" 1099511627776 "P" 1000000000000000 "Pi" 1125899906842624) -}}
{{- mulf (float64 $number) (get $units (trimPrefix $number .) | default 0) -}}
{{- end -}}

{{- define "synerdiff.checkRedis" -}}
{{- $external := .Values.externalRedis -}}
{{- if .Values.valkey.enabled -}}
{{- if or $external.host $external.secret $external.sentinel.hosts -}}
{{- include "synerdiff.mistake" "externalRedis: given, but valkey.enabled is true; set valkey.enabled=false to use it" -}}
{{- end -}}
{{- $memory := dig "limits" "memory" "" .Values.valkey.resources | default "" | toString -}}
{{- $bytes := include "synerdiff.bytes" $memory | float64 -}}
{{- if and $bytes (le $bytes (include "synerdiff.bytes" .Values.valkey.maxmemory | float64)) -}}
{{- include "synerdiff.mistake" (printf "valkey.resources.limits.memory: %s is no more than valkey.maxmemory, which is %s, so the kernel would kill Valkey before it refuses a submit; give twice maxmemory" $memory .Values.valkey.maxmemory) -}}
{{- end -}}
{{- else -}}
{{- if and $external.urlKey (not $external.secret) -}}
{{- include "synerdiff.mistake" (printf "externalRedis.secret: empty, but externalRedis.urlKey is '%s'; name the secret that holds the URL" $external.urlKey) -}}
{{- end -}}
{{- if not (or $external.host $external.urlKey $external.sentinel.hosts) -}}
{{- include "synerdiff.mistake" "externalRedis.host: empty, and valkey.enabled is false, so there is no Redis; give its host, sentinel.hosts and sentinel.master, or secret and urlKey" -}}
{{- end -}}
{{- if and $external.sentinel.hosts (or $external.host $external.urlKey) -}}
{{- include "synerdiff.mistake" (printf "externalRedis.sentinel.hosts: given, but externalRedis.%s is too; give one of them" (ternary "host" "urlKey" (ne $external.host ""))) -}}
{{- end -}}
{{- if and $external.sentinel.hosts (not $external.sentinel.master) -}}
{{- include "synerdiff.mistake" "externalRedis.sentinel.master: empty, but sentinel.hosts are given; name the primary that the Sentinels watch" -}}
{{- end -}}
{{- if and (not $external.sentinel.hosts) (or $external.sentinel.master $external.sentinel.secret $external.sentinel.username) -}}
{{- include "synerdiff.mistake" "externalRedis.sentinel.hosts: empty, but other values of sentinel are given; list the Sentinels" -}}
{{- end -}}
{{- if not (or $external.secret $external.allowNoPassword) -}}
{{- include "synerdiff.mistake" (printf "externalRedis.secret: empty, so there is no password for %s; name the secret, or set externalRedis.allowNoPassword=true" (default $external.sentinel.master $external.host)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "synerdiff.checkS3" -}}
{{- $external := .Values.externalS3 -}}
{{- if and .Values.seaweedfs.enabled $external.enabled -}}
{{- include "synerdiff.mistake" "externalS3.enabled: true, and so is seaweedfs.enabled; set one of them to false" -}}
{{- end -}}
{{- if not (or .Values.seaweedfs.enabled $external.enabled) -}}
{{- include "synerdiff.mistake" "externalS3.enabled: false, and so is seaweedfs.enabled, so there is nowhere to store images; set one of them to true" -}}
{{- end -}}
{{- if $external.enabled -}}
{{- if not (or $external.credentialsSecret $external.workloadIdentity) -}}
{{- include "synerdiff.mistake" (printf "externalS3.credentialsSecret: empty, so there are no credentials for bucket '%s'; name the secret, or set externalS3.workloadIdentity=true" .Values.s3.bucket) -}}
{{- end -}}
{{- if and $external.credentialsSecret $external.workloadIdentity -}}
{{- include "synerdiff.mistake" (printf "externalS3.workloadIdentity: true, but credentialsSecret is '%s', whose keys would win; give one of them" $external.credentialsSecret) -}}
{{- end -}}
{{- end -}}
{{- end -}}
