{{/* The name of the release's objects; the service's own name is put behind it. */}}
{{- define "aaa.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of a service's objects. Takes (list ROOT "login"), as everything below does that is about one service. */}}
{{- define "aaa.name" -}}
{{- printf "%s-%s" (include "aaa.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{- define "aaa.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "aaa.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: choria-aaa
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
{{ include "aaa.selector" . }}
{{- end -}}

{{- define "aaa.image" -}}
{{- $image := .Values.image -}}
{{- $repository := required "image.repository: required; an image with aaa-login and aaa-signer on its PATH" $image.repository -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "aaa.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "aaa.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The secret with the certificate of the listener, or nothing where there is none. */}}
{{- define "aaa.tlsSecret" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- if and $values.service.enabled $values.tls.enabled -}}
{{- if $values.tls.existingSecret -}}
{{- $values.tls.existingSecret -}}
{{- else if $values.tls.generate -}}
{{- include "aaa.name" . }}-tls
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The secret whose keys are files in /etc/aaa/keys, or nothing. */}}
{{- define "aaa.keysSecret" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- if $values.keys.existingSecret -}}
{{- $values.keys.existingSecret -}}
{{- else if $values.keys.generate -}}
{{- include "aaa.name" . }}-keys
{{- end -}}
{{- end -}}

{{/* Whether the signer is told of the key that was generated for the login service of this release. */}}
{{- define "aaa.knowsLogin" -}}
{{- $login := (index . 0).Values.login -}}
{{- if and (eq (index . 1) "signer") $login.enabled $login.keys.generate -}}yes{{- end -}}
{{- end -}}

{{/* The configuration file: what the site says, and what follows from the pod that it is for. */}}
{{- define "aaa.config" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
{{- $config := deepCopy $values.config -}}
{{- $_ := set $config "site" $root.Values.site -}}
{{- $_ := set $config "monitor_port" 8081 -}}
{{- $_ := set $config "drain_timeout" (printf "%ds" (int $values.drainSeconds)) -}}
{{- if $values.service.enabled -}}
{{- $_ := set $config "port" 8443 -}}
{{- if $values.tls.enabled -}}
{{- $_ := set $config "tls_certificate" "/etc/aaa/tls/tls.crt" -}}
{{- $_ := set $config "tls_key" "/etc/aaa/tls/tls.key" -}}
{{- if $values.tls.clientCA -}}
{{- $_ := set $config "tls_ca" "/etc/aaa/tls/ca.crt" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq (index . 1) "signer") (not (hasKey $config "signer")) -}}
{{- $_ := set $config "signer" "basicjwt" -}}
{{- end -}}
{{- $stream := get $config "jetstream_auditor" -}}
{{- if and $values.spool.enabled (kindIs "map" $stream) (not (hasKey $stream "spool_dir")) -}}
{{- $_ := set $stream "spool_dir" "/var/lib/aaa/spool" -}}
{{- end -}}
{{- $config | toPrettyJson -}}
{{- end -}}

{{/* Stops where values contradict one another, with what to do about it. */}}
{{- define "aaa.check" -}}
{{- $name := index . 1 -}}
{{- $values := index (index . 0).Values $name -}}
{{- range tuple "site" "port" "listen" "monitor_port" "admin_listen" "tls_certificate" "tls_key" "tls_ca" "logfile" "drain_timeout" -}}
{{- if hasKey $values.config . -}}
{{- fail (printf "%s.config.%s: the chart sees to it; take it out, and use site, %s.service, %s.tls and %s.drainSeconds" $name . $name $name $name) -}}
{{- end -}}
{{- end -}}
{{- range $file, $_ := $values.files -}}
{{- if or (eq $file "config.json") (not (regexMatch "^[A-Za-z0-9_-][A-Za-z0-9._-]*$" $file)) -}}
{{- fail (printf "%s.files: %q cannot be the name of a file here; letters, digits, '.', '_' and '-' can, config.json is taken" $name $file) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $name "login") (not $values.config.authenticator) -}}
{{- fail "login.config.authenticator: required; it says who checks passwords, such as userlist" -}}
{{- end -}}
{{- if and (eq $name "login") (not $values.service.enabled) -}}
{{- fail "login.service.enabled: cannot be false; clients reach the login service over HTTPS only" -}}
{{- end -}}
{{- if and (eq $name "signer") $values.keys.generate -}}
{{- fail "signer.keys.generate: not possible; what a signer signs with is issued by your organization issuer or CA: put it in a secret and name it in signer.keys.existingSecret" -}}
{{- end -}}
{{- if and $values.keys.existingSecret $values.keys.generate -}}
{{- fail (printf "%s.keys: both existingSecret and generate; choose one" $name) -}}
{{- end -}}
{{- if not (include "aaa.keysSecret" .) -}}
{{- fail (printf "%s.keys.existingSecret: required; make a secret of the key files (kubectl create secret generic NAME --from-file=...) and name it here" $name) -}}
{{- end -}}
{{- if and $values.service.enabled $values.tls.enabled -}}
{{- if and $values.tls.existingSecret $values.tls.generate -}}
{{- fail (printf "%s.tls: both existingSecret and generate; choose one" $name) -}}
{{- end -}}
{{- if not (or $values.tls.existingSecret $values.tls.generate) -}}
{{- fail (printf "%s.tls.existingSecret: required; name a secret of type kubernetes.io/tls, or set %s.tls.generate for a self-signed certificate" $name $name) -}}
{{- end -}}
{{- if and $values.tls.clientCA (not $values.tls.existingSecret) -}}
{{- fail (printf "%s.tls.clientCA: wants the ca.crt of %s.tls.existingSecret" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if and $values.ingress.enabled (not (and $values.service.enabled $values.ingress.hosts)) -}}
{{- fail (printf "%s.ingress: wants %s.service.enabled, and at least one name in %s.ingress.hosts" $name $name $name) -}}
{{- end -}}
{{- if and $values.spool.persistent (not $values.spool.enabled) -}}
{{- fail (printf "%s.spool.persistent: set %s.spool.enabled too" $name $name) -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
{{- fail (printf "%s.autoscaling: minReplicas is above maxReplicas" $name) -}}
{{- end -}}
{{- if and $values.autoscaling.enabled $values.spool.persistent -}}
{{- fail (printf "%s.autoscaling: not with %s.spool.persistent; records in the spool of a pod that was scaled away would wait until it comes back" $name $name) -}}
{{- end -}}
{{- end -}}
