{{- define "podway.labels" -}}
app.kubernetes.io/name: podway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels of one part, called with (dict "root" $ "part" "edge"). */}}
{{- define "podway.selector" -}}
app.kubernetes.io/name: podway
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "podway.tag" -}}
{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What every container of ours is allowed: nothing. */}}
{{- define "podway.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "podway.redisSecret" -}}
{{ if .Values.trial.enabled }}{{ .Release.Name }}-trial{{ else }}{{ .Values.redis.secret }}{{ end }}
{{- end }}

{{- define "podway.redisCA" -}}
{{ if .Values.trial.enabled }}{{ .Release.Name }}-trial{{ else }}{{ .Values.redis.caSecret }}{{ end }}
{{- end }}

{{- define "podway.postgresSecret" -}}
{{ if .Values.trial.enabled }}{{ .Release.Name }}-trial{{ else }}{{ .Values.postgres.secret }}{{ end }}
{{- end }}

{{- define "podway.keysSecret" -}}
{{ if .Values.trial.enabled }}{{ .Release.Name }}-trial{{ else }}{{ .Values.keys.secret }}{{ end }}
{{- end }}

{{/* Environment of the control plane, of its migration too. */}}
{{- define "podway.env" -}}
- name: PODWAY_STORE
  valueFrom: {secretKeyRef: {name: {{ include "podway.postgresSecret" . }}, key: {{ if .Values.trial.enabled }}postgres-url{{ else }}url{{ end }}}}
- name: PODWAY_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ include "podway.redisSecret" . }}, key: control-url}}
- {name: PODWAY_KEY_FILE, value: /etc/podway/keys/store.key}
- {name: PODWAY_GATE_KEY_FILE, value: /etc/podway/keys/gate.key}
- {name: PODWAY_LISTEN, value: "0.0.0.0:8000"}
- {name: PODWAY_CLUSTER, value: kubernetes}
- {name: PODWAY_STATE_DIR, value: /var/lib/podway}
- {name: PODWAY_VOLUMES_DIR, value: /var/lib/podway/volumes}
- {name: PODWAY_SITE, value: {{ .Values.controlPlane.site | quote }}}
- {name: PODWAY_TAPIS_URL, value: {{ required "controlPlane.tapisUrl: which Tapis do tokens come from?" .Values.controlPlane.tapisUrl | quote }}}
{{- if ne .Values.edge.kind "None" }}
- {name: PODWAY_KUBE_EDGE_NAMESPACE, value: "kubernetes.io/metadata.name={{ .Release.Namespace }}"}
- {name: PODWAY_KUBE_EDGE_PODS, value: "app.kubernetes.io/name=podway,app.kubernetes.io/component=edge"}
{{- end }}
{{- with .Values.tapisAccount.secret }}
- name: PODWAY_SERVICE_TENANT
  valueFrom: {secretKeyRef: {name: {{ . }}, key: service-tenant}}
- name: PODWAY_SERVICE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ . }}, key: service-password}}
{{- end }}
{{- range $name, $value := .Values.controlPlane.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{/* Files that both halves read. */}}
{{- define "podway.mounts" -}}
- {name: keys, mountPath: /etc/podway/keys, readOnly: true}
{{- if include "podway.redisCA" . }}
- {name: redis-ca, mountPath: /etc/podway/redis, readOnly: true}
{{- end }}
- {name: state, mountPath: /var/lib/podway}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{/* Called with (dict "root" $ "keys" (list ...)). An edge never sees store.key. */}}
{{- define "podway.volumes" -}}
- name: keys
  secret:
    secretName: {{ include "podway.keysSecret" .root }}
    defaultMode: 0440
    items:
      {{- range .keys }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- with include "podway.redisCA" .root }}
- name: redis-ca
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}
- {name: state, emptyDir: {}}
- {name: tmp, emptyDir: {}}
{{- end }}
