{{/* What a container of a service may do: nothing beyond its work. */}}
{{- define "aaa.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "aaa.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.runAsUser }}
runAsGroup: {{ .Values.runAsGroup }}
fsGroup: {{ .Values.runAsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "aaa.args" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
- --config=/etc/aaa/config/config.json
{{- if and $values.service.enabled (not $values.tls.enabled) }}
- --disable-tls
{{- end }}
{{- end -}}

{{- define "aaa.mounts" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
- name: config
  mountPath: /etc/aaa/config
  readOnly: true
- name: keys
  mountPath: /etc/aaa/keys
  readOnly: true
{{- if include "aaa.tlsSecret" . }}
- name: tls
  mountPath: /etc/aaa/tls
  readOnly: true
{{- end }}
{{- if include "aaa.knowsLogin" . }}
- name: login
  mountPath: /etc/aaa/login
  readOnly: true
{{- end }}
{{- if $values.spool.enabled }}
- name: spool
  mountPath: /var/lib/aaa/spool
{{- end }}
{{- with $values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Secrets are for the group that the pod runs as, and not for everybody in it. */}}
{{- define "aaa.volumes" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
- name: config
  secret:
    secretName: {{ include "aaa.name" . }}-config
    defaultMode: 0440
- name: keys
  secret:
    secretName: {{ include "aaa.keysSecret" . }}
    defaultMode: 0440
{{- with include "aaa.tlsSecret" . }}
- name: tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- if include "aaa.knowsLogin" . }}
# The certificate alone: the key that makes tokens stays with the login service.
- name: login
  secret:
    secretName: {{ include "aaa.keysSecret" (list $root "login") }}
    defaultMode: 0440
    items:
      - key: signing.crt
        path: signing.crt
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "aaa.spread" -}}
{{- $spread := (index (index . 0).Values (index . 1)).topologySpread -}}
{{- $it := . -}}
{{- range tuple "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: {{ $spread.whenUnsatisfiable }}
  labelSelector:
    matchLabels: {{- include "aaa.selector" $it | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "aaa.probe" -}}
httpGet:
  path: /healthz/{{ . }}
  port: admin
timeoutSeconds: 2
{{- end -}}

{{- define "aaa.pod" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $values := index $root.Values $name -}}
metadata:
  labels:
    {{- include "aaa.labels" . | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ printf "%s%s" (include "aaa.config" .) (toJson $values.files) | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "aaa.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  terminationGracePeriodSeconds: {{ add $values.preStopSeconds $values.drainSeconds 10 }}
  securityContext: {{- include "aaa.podSecurity" $root | nindent 4 }}
  containers:
    - name: {{ $name }}
      image: {{ include "aaa.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [aaa-{{ $name }}]
      args: {{- include "aaa.args" . | nindent 8 }}
      ports:
        {{- if $values.service.enabled }}
        - name: api
          containerPort: 8443
        {{- end }}
        - name: admin
          containerPort: 8081
      startupProbe:
        {{- include "aaa.probe" "live" | nindent 8 }}
        periodSeconds: 1
        failureThreshold: 60
      livenessProbe:
        {{- include "aaa.probe" "live" | nindent 8 }}
        periodSeconds: 10
        failureThreshold: 3
      readinessProbe:
        {{- include "aaa.probe" "ready" | nindent 8 }}
        periodSeconds: 5
        failureThreshold: 2
      {{- if $values.preStopSeconds }}
      lifecycle:
        preStop:
          sleep:
            seconds: {{ $values.preStopSeconds }}
      {{- end }}
      resources: {{- toYaml $values.resources | nindent 8 }}
      securityContext: {{- include "aaa.containerSecurity" . | nindent 8 }}
      volumeMounts: {{- include "aaa.mounts" . | nindent 8 }}
  volumes:
    {{- include "aaa.volumes" . | nindent 4 }}
    {{- if and $values.spool.enabled (not $values.spool.persistent) }}
    - name: spool
      emptyDir:
        sizeLimit: {{ $values.spool.size }}
    {{- end }}
  {{- if $values.topologySpread.enabled }}
  topologySpreadConstraints: {{- include "aaa.spread" . | nindent 4 }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
{{- end -}}
