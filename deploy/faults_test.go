package deploy

import (
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const (
	fileConfig    = "base/job.yaml"
	fileKustomize = "base/kustomization.yaml"
	fileNamespace = "base/namespace.yaml"
	filePolicy    = "base/paramserver-networkpolicy.yaml"
	fileServer    = "base/paramserver-statefulset.yaml"
	fileService   = "base/paramserver-service.yaml"
	fileWorkers   = "base/worker-job.yaml"

	fileLocal        = "overlays/local/kustomization.yaml"
	fileLocalConfig  = "overlays/local/job.yaml"
	fileLocalWorkers = "overlays/local/worker.yaml"
	fileGPU          = "overlays/gpu/kustomization.yaml"
	fileGPUWorkers   = "overlays/gpu/worker.yaml"

	readyz  = "              path: /readyz\n              port: http\n"
	healthz = "              path: /healthz\n              port: http\n"
)

// faults are mistakes that someone may make in the files, and what must find
// each. Every one of them is something that builds and decodes.
var faults = []struct {
	edit  edit
	check string // the name of the check
	want  string // part of what it says
}{
	{edit{fileService, "component: paramserver\n  ports", "component: worker\n  ports"}, "the service leads to the server alone", "does not match"},
	{edit{fileService, "    app.kubernetes.io/component: paramserver\n  ports", "  ports"}, "the service leads to the server alone", "matches the pods of Job worker too"},
	{edit{fileService, "    app.kubernetes.io/name: muster\n    app.kubernetes.io/component: paramserver\n  ports", "  ports"}, "the service leads to the server alone", "every pod"},
	{edit{fileServer, "serviceName: paramserver", "serviceName: server"}, "the service leads to the server alone", `"server"`},

	{edit{fileService, "targetPort: grpc", "targetPort: http"}, "the service's ports are the server's", `"grpc" of the service goes to http`},
	{edit{fileService, "targetPort: grpc", "targetPort: 9000"}, "the service's ports are the server's", "goes to 9000"},
	{edit{fileService, "    - name: http\n      port: 9001\n      targetPort: http\n", ""}, "the service's ports are the server's", "has 1 ports"},
	{edit{fileServer, "- name: grpc\n", "- name: rpc\n"}, "the service's ports are the server's", `no port named "grpc"`},
	{edit{fileService, "port: 9001", "port: 80"}, "the service's ports are the server's", "80 of the service and 9001"},
	{edit{fileService, "targetPort: grpc", "targetPort: grpc\n      protocol: UDP"}, "the service's ports are the server's", `port "grpc" of the service carries UDP`},
	{edit{fileServer, "containerPort: 9000", "containerPort: 9000\n              protocol: SCTP"}, "the service's ports are the server's", `port "grpc" of the container carries SCTP`},
	{edit{fileService, "  selector:\n", "  clusterIP: None\n  selector:\n"}, "the service's ports are the server's", "address is None"},

	{edit{fileServer, "      app.kubernetes.io/component: paramserver\n  template", "      app.kubernetes.io/component: server\n  template"}, "selectors match their own pods", "does not match"},
	{edit{fileServer, "      app.kubernetes.io/component: paramserver\n  template", "  template"}, "selectors match their own pods", "too"},
	{edit{fileWorkers, "  completions: 8\n", "  completions: 8\n  manualSelector: true\n"}, "selectors match their own pods", "selector of its own"},

	{edit{fileServer, "--port=9000", "--port=9100"}, "ports are those of the flags", "--port=9100"},
	{edit{fileServer, "--http=:9001", "--http=:9002"}, "ports are those of the flags", "--http=:9002"},
	{edit{fileServer, "--http=:9001", "--http=127.0.0.1:9001"}, "ports are those of the flags", "127.0.0.1"},
	{edit{fileWorkers, "            - --http=:9002\n", ""}, "ports are those of the flags", "--http is not given"},
	{edit{fileWorkers, "containerPort: 9002", "containerPort: 9001"}, "ports are those of the flags", "is 9001"},

	{edit{fileWorkers, "--server=paramserver:9000", "--server=paramserver:9001"}, "workers call the service", "no port grpc of that number"},
	{edit{fileWorkers, "--server=paramserver:9000", "--server=server:9000"}, "workers call the service", "is called paramserver"},
	{edit{fileWorkers, "--server=paramserver:9000", "--server=paramserver"}, "workers call the service", "missing port"},

	{edit{fileServer, readyz, "              path: /ready\n              port: http\n"}, "probes ask where health is served", "/ready of port http"},
	{edit{fileServer, healthz, "              path: /healthz\n              port: grpc\n"}, "probes ask where health is served", "of port grpc"},
	{edit{fileWorkers, "livenessProbe:\n            httpGet:\n" + healthz, "livenessProbe:\n            httpGet:\n" + readyz}, "probes ask where health is served", "the liveness probe asks for /readyz"},
	{edit{fileWorkers, "          startupProbe:\n            httpGet:\n" + healthz, "          startupProbe:\n            tcpSocket:\n              port: http\n"}, "probes ask where health is served", "no startup probe over http"},
	{edit{fileServer, readyz, readyz + "              scheme: HTTPS\n"}, "probes ask where health is served", `over "HTTPS"`},
	{edit{fileWorkers, readyz, readyz + "              host: paramserver\n"}, "probes ask where health is served", `host "paramserver"`},

	{edit{fileServer, "failureThreshold: 60", "failureThreshold: 29"}, "probes are patient", "startup probe ends the container after 58s"},
	{edit{fileWorkers, "            failureThreshold: 60\n", ""}, "probes are patient", "startup probe ends the container after 6s"},
	{edit{fileServer, "failureThreshold: 6\n", "failureThreshold: 2\n"}, "probes are patient", "liveness probe ends the container after 20s"},
	{edit{fileWorkers, "periodSeconds: 10\n", "periodSeconds: 1\n"}, "probes are patient", "liveness probe ends the container after 6s"},
	{edit{fileServer, "            timeoutSeconds: 10\n            failureThreshold: 60\n", "            failureThreshold: 60\n"}, "probes are patient", "startup probe waits 1s"},
	{edit{fileServer, "            timeoutSeconds: 10\n            failureThreshold: 6\n", "            timeoutSeconds: 2\n            failureThreshold: 6\n"}, "probes are patient", "liveness probe waits 2s"},
	{edit{fileWorkers, "            periodSeconds: 5\n            timeoutSeconds: 10\n", "            periodSeconds: 5\n"}, "probes are patient", "readiness probe waits 1s"},

	{edit{fileWorkers, `prometheus.io/port: "9002"`, `prometheus.io/port: "9001"`}, "scrapers are told where metrics are", `"9001", want "9002"`},
	{edit{fileServer, "        prometheus.io/path: /metrics\n", ""}, "scrapers are told where metrics are", "prometheus.io/path"},

	{edit{filePolicy, "component: worker", "component: workers"}, "the policy lets workers in", "lets the wrong pods in"},
	{edit{filePolicy, "    - from:\n        - podSelector:\n            matchLabels:\n              app.kubernetes.io/name: muster\n              app.kubernetes.io/component: worker\n      ports", "    - ports"}, "the policy lets workers in", "port grpc is open to []"},
	{edit{filePolicy, "        - port: http\n", "        - port: http\n        - port: grpc\n"}, "the policy lets workers in", "opens port grpc twice"},
	{edit{filePolicy, "      app.kubernetes.io/component: paramserver\n  policyTypes", "  policyTypes"}, "the policy lets workers in", "guards the wrong pods"},
	{edit{filePolicy, "    - ports:\n        - port: http\n", ""}, "the policy lets workers in", "port http is open to"},
	{edit{filePolicy, "port: grpc", "port: 9000"}, "the policy lets workers in", `no port named "9000"`},
	{edit{filePolicy, "      ports:\n        - port: grpc\n", ""}, "the policy lets workers in", "every port"},
	{edit{filePolicy, "policyTypes: [Ingress]", "policyTypes: [Ingress, Egress]"}, "the policy lets workers in", "types [Ingress Egress]"},
	{edit{filePolicy, "policyTypes: [Ingress]", "policyTypes: [Egress]"}, "the policy lets workers in", "types [Egress]"},
	{edit{filePolicy, "  policyTypes: [Ingress]\n", ""}, "the policy lets workers in", "types []"},
	{edit{filePolicy, "  ingress:\n", "  egress:\n    - {}\n  ingress:\n"}, "the policy lets workers in", "1 rules for egress"},
	{edit{filePolicy, "- port: grpc\n", "- port: grpc\n          protocol: UDP\n"}, "the policy lets workers in", "want a port of TCP"},
	{edit{filePolicy, "- port: grpc\n", "- port: 9000\n          endPort: 9001\n"}, "the policy lets workers in", "want a port of TCP"},
	{edit{filePolicy, "- port: http\n", "- protocol: TCP\n"}, "the policy lets workers in", "want a port of TCP"},

	{edit{fileWorkers, "--server=", "--sever="}, "flags are known", "no flag --sever"},
	{edit{fileServer, "--when-done=wait", "--gpu=0"}, "flags are known", "paramserver has no flag --gpu"},
	{edit{fileGPU, "--gpu=0", "--gpus=0"}, "flags are known", "worker has no flag --gpus"},
	{edit{fileGPU, "--gpu=0", "--shard=0/8"}, "flags are known", "once"},
	{edit{fileServer, "command: [paramserver]", "command: [sh, -c, paramserver]"}, "flags are known", "no shell"},
	{edit{fileServer, "- --port=9000", "- --port\n            - \"9000\""}, "flags are known", "want --name=value"},
	{edit{fileWorkers, "      containers:\n", "      initContainers:\n        - name: fetch\n          image: muster\n      containers:\n"}, "flags are known", "has 2 containers"},

	{edit{fileConfig, "epochs: 10", "epoch: 10"}, "keys of the file are flags", `"epoch" is no flag of paramserver`},
	{edit{fileConfig, "epochs: 10", "when-done: wait"}, "keys of the file are flags", `"when-done" is no flag of muster train`},
	{edit{fileConfig, "epochs: 10", "checkpoint-dir: /x"}, "keys of the file are flags", "no effect"},
	{edit{fileConfig, "epochs: 10", "shards: 8"}, "keys of the file are flags", "shards"},
	{edit{fileServer, "--config=/etc/muster/job.yaml", "--config=/etc/muster/jobs.yaml"}, "keys of the file are flags", "no such file"},

	{edit{fileConfig, "network: alexnet", "network: alexnot"}, "the programs take what they are given", "did you mean alexnet"},
	{edit{fileConfig, "batch: 128", "batch: 100"}, "the programs take what they are given", "not divisible"},
	{edit{fileConfig, "epochs: 10", "epochs: ten"}, "the programs take what they are given", "whole number"},
	{edit{fileServer, "--http=:9001", "--http=:http"}, "the programs take what they are given", "--http=:http"},
	{edit{fileServer, "--when-done=wait", "--when-done=stay"}, "the programs take what they are given", "stay"},
	{edit{fileWorkers, "--shard=$(JOB_COMPLETION_INDEX)/8", "--shard=$(JOB_COMPLETION_INDEX)/"}, "the programs take what they are given", "0/"},

	{edit{fileConfig, "shards: 8", "shards: 4"}, "shards, workers and the job agree", "a job of 4 shards"},
	{edit{fileWorkers, "--shard=$(JOB_COMPLETION_INDEX)/8", "--shard=$(JOB_COMPLETION_INDEX)/7"}, "shards, workers and the job agree", "wants $(JOB_COMPLETION_INDEX)/8"},
	{edit{fileWorkers, "completions: 8\n  parallelism: 8", "completions: 7\n  parallelism: 7"}, "shards, workers and the job agree", "7 workers"},
	{edit{fileLocalWorkers, "completions: 2\n  parallelism: 2", "completions: 9\n  parallelism: 9"}, "shards, workers and the job agree", "9 workers for 8 shards"},
	{edit{fileLocalConfig, "shards: 8", "shard: 8"}, "shards, workers and the job agree", "<nil> shards"},
	{edit{fileWorkers, "parallelism: 8", "parallelism: 4"}, "shards, workers and the job agree", "parallelism 4"},
	{edit{fileWorkers, "completionMode: Indexed", "completionMode: NonIndexed"}, "shards, workers and the job agree", "not an Indexed Job"},

	{edit{fileWorkers, "$(JOB_COMPLETION_INDEX)", "$(JOB_COMPLETION_INDEXES)"}, "variables are declared", "passed on as"},
	{edit{fileWorkers, "job-completion-index']", "job-index']"}, "variables are declared", "job-index"},
	{edit{fileWorkers, "              valueFrom:\n                fieldRef:\n                  fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']\n", "              value: \"0\"\n"}, "variables are declared", "JOB_COMPLETION_INDEX is 0"},
	{edit{fileWorkers, "- name: GOMEMLIMIT", "- name: MUSTER_THREADS"}, "variables are declared", "MUSTER_THREADS"},
	{edit{fileServer, "enableServiceLinks: false", "enableServiceLinks: true"}, "variables are declared", "may be taken for flags"},
	{edit{fileServer, "          env:\n", "          envFrom:\n            - configMapRef:\n                name: job\n          env:\n"}, "variables are declared", "envFrom"},

	{edit{fileConfig, "seed: 1", "seed: 1\nresume: none"}, "flags and keys do no harm", "resume is set: each restart"},
	{edit{fileServer, "- --port=9000", "- --port=9000\n            - --resume=none"}, "flags and keys do no harm", "resume is set"},
	{edit{fileConfig, "epochs: 10", "max-time: 30m"}, "flags and keys do no harm", "max-time is set: it is counted anew"},
	{edit{fileServer, "- --port=9000", "- --port=9000\n            - --listen=127.0.0.1:9000"}, "flags and keys do no harm", "listen is set"},
	{edit{fileConfig, "epochs: 10", "json: true"}, "flags and keys do no harm", "json is set"},
	{edit{fileWorkers, "--server=paramserver:9000", "--etcd=http://paramserver:2379"}, "flags and keys do no harm", "etcd is set"},
	{edit{fileWorkers, "- --http=:9002", "- --http=:9002\n            - --config=/etc/muster/job.yaml"}, "flags and keys do no harm", "out of sight"},
	{edit{fileWorkers, "- --http=:9002", "- --http=:9002\n            - --job=lenet5"}, "flags and keys do no harm", "--job=lenet5, ConfigMap job-"},
	{edit{fileWorkers, "- --http=:9002", "- --http=:9002\n            - --network=lenet5"}, "flags and keys do no harm", "--network=lenet5, ConfigMap job-"},

	{edit{fileServer, "--when-done=wait", "--when-done=exit"}, "ends are met as they are meant", "again and again"},
	{edit{fileServer, "replicas: 1", "replicas: 2"}, "ends are met as they are meant", "one owner"},
	{edit{fileServer, "terminationGracePeriodSeconds: 120", "terminationGracePeriodSeconds: 5"}, "ends are met as they are meant", "no grace"},
	{edit{fileWorkers, "values: [2]", "values: [1]"}, "ends are met as they are meant", "status 2, disrupted false: Count"},
	{edit{fileWorkers, "action: FailJob", "action: Count"}, "ends are met as they are meant", "want FailJob"},
	{edit{fileWorkers, "values: [3]", "values: [4]"}, "ends are met as they are meant", "status 3"},
	{edit{fileWorkers, "operator: In\n", "operator: NotIn\n"}, "ends are met as they are meant", "status 2"},
	{edit{fileWorkers, "restartPolicy: Never\n", "restartPolicy: Never\n      activeDeadlineSeconds: 60\n"}, "ends are met as they are meant", "a deadline"},
	{edit{fileWorkers, "type: DisruptionTarget", "type: Ready"}, "ends are met as they are meant", "disrupted true"},
	{edit{fileWorkers, "restartPolicy: Never", "restartPolicy: OnFailure"}, "ends are met as they are meant", "OnFailure"},
	{edit{fileWorkers, "backoffLimitPerIndex:", "backoffLimit:"}, "ends are met as they are meant", "share their tries"},
	{edit{fileWorkers, "completions: 8\n", "completions: 8\n  activeDeadlineSeconds: 3600\n"}, "ends are met as they are meant", "a deadline"},

	{edit{fileWorkers, "completions: 8\n", "completions: 8\n  suspend: true\n"}, "the Job runs, and tries again", "is suspended"},
	{edit{fileWorkers, "backoffLimitPerIndex: 6", "backoffLimitPerIndex: 0"}, "the Job runs, and tries again", "no second try"},
	{edit{fileWorkers, "  backoffLimitPerIndex: 6\n", ""}, "the Job runs, and tries again", "no second try"},
	{edit{fileWorkers, "completions: 8\n", "completions: 8\n  backoffLimit: 6\n"}, "the Job runs, and tries again", "all workers together"},
	{edit{fileWorkers, "completions: 8\n", "completions: 8\n  maxFailedIndexes: 0\n"}, "the Job runs, and tries again", "maxFailedIndexes"},
	{edit{fileWorkers, "completions: 8\n", "completions: 8\n  successPolicy:\n    rules:\n      - succeededCount: 1\n"}, "the Job runs, and tries again", "successPolicy"},
	{edit{fileWorkers, "completions: 8\n", "completions: 8\n  podReplacementPolicy: TerminatingOrFailed\n"}, "the Job runs, and tries again", "has the shard"},
	{edit{fileWorkers, "completions: 8\n", "completions: 8\n  ttlSecondsAfterFinished: 3600\n"}, "the Job runs, and tries again", "removes the logs"},
	{edit{fileWorkers, "completions: 8\n", "completions: 8\n  activeDeadlineSeconds: 86400\n"}, "the Job runs, and tries again", "activeDeadlineSeconds"},
	{edit{fileLocalWorkers, "completions: 2\n", "completions: 2\n  suspend: true\n"}, "the Job runs, and tries again", "is suspended"},

	{edit{fileServer, "  podManagementPolicy: Parallel\n", ""}, "a new job.yaml reaches the server", `podManagementPolicy ""`},
	{edit{fileServer, "replicas: 1\n", "replicas: 1\n  updateStrategy:\n    type: OnDelete\n"}, "a new job.yaml reaches the server", "OnDelete"},
	{edit{fileServer, "replicas: 1\n", "replicas: 1\n  updateStrategy:\n    rollingUpdate:\n      partition: 1\n"}, "a new job.yaml reaches the server", "partition 1"},
	{edit{fileServer, "replicas: 1\n", "replicas: 1\n  persistentVolumeClaimRetentionPolicy:\n    whenScaled: Delete\n"}, "a new job.yaml reaches the server", "Delete"},

	{edit{fileServer, "- name: checkpoints\n              mountPath", "- name: checkpoint\n              mountPath"}, "volumes and mounts fit", `names "checkpoint"`},
	{edit{fileServer, "            - name: config\n              mountPath: /etc/muster\n              readOnly: true\n", ""}, "volumes and mounts fit", `"config" is not mounted`},
	{edit{fileServer, "            - name: checkpoints\n              mountPath: /var/lib/muster\n", ""}, "volumes and mounts fit", `"checkpoints" is not mounted`},
	{edit{fileServer, "mountPath: /etc/muster", "mountPath: /etc/must"}, "volumes and mounts fit", "--config=/etc/muster/job.yaml does not lie"},
	{edit{fileServer, "--config=/etc/muster/job.yaml", "--config=/etc/muster/jobs.yaml"}, "volumes and mounts fit", "has no jobs.yaml"},
	{edit{fileServer, "        - name: config\n          configMap", "        - name: checkpoints\n          configMap"}, "volumes and mounts fit", "a volume and a claim"},
	{edit{fileServer, "            name: job\n", "            name: jobs\n"}, "volumes and mounts fit", `ConfigMap "jobs"`},

	{edit{fileServer, "--checkpoint-dir=/var/lib/muster/job", "--checkpoint-dir=/var/lib/job"}, "writes go to volumes", "/var/lib/job does not lie"},
	{edit{fileServer, "--checkpoint-dir=/var/lib/muster/job", "--checkpoint-dir=/etc/muster/job"}, "writes go to volumes", "/etc/muster/job does not lie"},
	{edit{fileServer, "--checkpoint-dir=/var/lib/muster/job", "--checkpoint-dir=/var/lib/muster"}, "writes go to volumes", "lost+found"},
	{edit{fileServer, "            - --checkpoint-dir=/var/lib/muster/job\n", ""}, "writes go to volumes", "--checkpoint-dir is not given"},
	{edit{fileServer, "    - metadata:\n        name: checkpoints\n", "    - metadata:\n        name: state\n"}, "writes go to volumes", "outlives the pod: false"},
	{edit{fileWorkers, "--data-cache=/var/cache/muster", "--data-cache=/var/cache"}, "writes go to volumes", "/var/cache does not lie"},
	{edit{fileWorkers, "            sizeLimit: 1Gi\n", "            medium: Memory\n"}, "writes go to volumes", "no limit of size"},
	{edit{fileServer, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"}, "writes go to volumes", "writable"},

	{edit{fileServer, "        fsGroup: 65532\n", ""}, "volumes are the group's", `no fsGroup: volumes ["checkpoints"]`},
	{edit{fileWorkers, "        fsGroup: 65532\n", ""}, "volumes are the group's", `no fsGroup: volumes ["data"]`},
	{edit{fileServer, "fsGroup: 65532", "fsGroup: 1000"}, "volumes are the group's", "of group 1000"},
	{edit{fileWorkers, "runAsGroup: 65532", "runAsGroup: 65533"}, "volumes are the group's", "of group 65532"},

	{edit{fileServer, "[ReadWriteOnce]", "[ReadWriteMany]"}, "volumes hold what is written", "[ReadWriteMany]"},
	{edit{fileServer, "[ReadWriteOnce]", "[ReadOnlyMany]"}, "volumes hold what is written", "[ReadOnlyMany]"},
	{edit{fileServer, "[ReadWriteOnce]", "[ReadWriteOncePod]"}, "volumes hold what is written", "[ReadWriteOncePod]"},
	{edit{fileServer, "        accessModes: [ReadWriteOnce]\n", ""}, "volumes hold what is written", "access modes []"},
	{edit{fileServer, "[ReadWriteOnce]\n", "[ReadWriteOnce]\n        volumeMode: Block\n"}, "volumes hold what is written", "mode Block"},
	{edit{fileServer, "storage: 2Gi", "storage: 2Mi"}, "volumes hold what is written", "asks for 2Mi"},
	{edit{fileServer, "storage: 2Gi", `storage: "2"`}, "volumes hold what is written", "asks for 2,"},
	{edit{fileWorkers, "            sizeLimit: 1Gi\n", "            sizeLimit: 1Gi\n            medium: Memory\n"}, "volumes hold what is written", "medium Memory"},
	{edit{fileWorkers, "sizeLimit: 1Gi", "sizeLimit: 256Mi"}, "volumes hold what is written", "limited to 256Mi"},

	{edit{fileWorkers, "--data=cifar10", "--data=auto"}, "images come from one source", "different images"},
	{edit{fileLocal, "        value: --data=synthetic", "        value: --data-url=http://localhost/"}, "images come from one source", "--data is not given"},

	{edit{fileNamespace, "enforce: restricted", "enforce: baseline"}, "pods are restricted", "baseline"},
	{edit{fileServer, "runAsNonRoot: true", "runAsNonRoot: false"}, "pods are restricted", "root"},
	{edit{fileWorkers, "runAsUser: 65532", "runAsUser: 0"}, "pods are restricted", "root"},
	{edit{fileWorkers, "type: RuntimeDefault", "type: Unconfined"}, "pods are restricted", "seccomp"},
	{edit{fileWorkers, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"}, "pods are restricted", "privileges"},
	{edit{fileServer, "drop: [ALL]", "drop: [NET_RAW]"}, "pods are restricted", "capabilities"},
	{edit{fileServer, "automountServiceAccountToken: false", "automountServiceAccountToken: true"}, "pods are restricted", "token"},
	{edit{fileServer, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"}, "pods are restricted", "writable"},
	{edit{fileServer, "          securityContext:\n            allowPrivilegeEscalation: false\n            readOnlyRootFilesystem: true\n            capabilities:\n              drop: [ALL]\n", ""}, "pods are restricted", "no securityContext"},
	{edit{fileWorkers, "      enableServiceLinks: false\n", "      enableServiceLinks: false\n      hostNetwork: true\n"}, "pods are restricted", "shares a namespace"},
	{edit{fileServer, "readOnlyRootFilesystem: true", "runAsUser: 1"}, "pods are restricted", "another user"},

	{edit{fileServer, "              memory: 2Gi\n", "              ephemeral-storage: 2Gi\n"}, "resources are set", "memory: requested 1536Mi, limited to 0"},
	{edit{fileWorkers, "memory: 2Gi", "memory: 512Mi"}, "resources are set", "requested 1Gi, limited to 512Mi"},
	{edit{fileLocalWorkers, "memory: 512Mi", "memory: 128Mi"}, "resources are set", "requested 256Mi, limited to 128Mi"},
	{edit{fileWorkers, "resource: requests.memory", "resource: limits.memory"}, "resources are set", "GOMEMLIMIT"},
	{edit{fileWorkers, "containerName: worker\n                  resource", "containerName: paramserver\n                  resource"}, "resources are set", `container "paramserver"`},

	{edit{fileGPUWorkers, "nvidia.com/gpu: 1", `cpu: "2"`}, "GPUs are asked for where they are used", "gpu is 0, want 1"},
	{edit{fileGPUWorkers, "nvidia.com/gpu: 1", "nvidia.com/gpu: 2"}, "GPUs are asked for where they are used", "gpu is 2, want 1"},
	{edit{fileGPUWorkers, "nvidia.com/gpu: 1", "nvidia.com/gpus: 1"}, "GPUs are asked for where they are used", "asks for nvidia.com/gpus"},
	{edit{fileGPUWorkers, "limits:", "requests:"}, "GPUs are asked for where they are used", "gpu is 0, want 1"},
	{edit{fileGPUWorkers, "nvidia.com/gpu: 1", "nvidia.com/gpu: 1\n            requests:\n              nvidia.com/gpu: 2"}, "GPUs are asked for where they are used", "2 of nvidia.com/gpu are requested"},
	{edit{fileGPUWorkers, "key: nvidia.com/gpu", "key: nvidia.com/GPU"}, "GPUs are asked for where they are used", "tolerates nodes kept for GPUs: false"},
	{edit{fileGPU, "--gpu=0", "--gpu=1"}, "GPUs are asked for where they are used", `--gpu is "1" with 1 GPUs`},
	{edit{fileGPU, "--gpu=0", "--threads=0"}, "GPUs are asked for where they are used", `--gpu is "" with 1 GPUs`},
	{edit{fileWorkers, "memory: 2Gi", "memory: 2Gi\n              nvidia.com/gpu: 1"}, "GPUs are asked for where they are used", "gpu is 1, want 0"},
	{edit{fileServer, "memory: 2Gi", "memory: 2Gi\n              nvidia.com/gpu: 1"}, "GPUs are asked for where they are used", "StatefulSet paramserver: the limit"},
	{edit{fileWorkers, "- --http=:9002", "- --http=:9002\n            - --gpu=0"}, "GPUs are asked for where they are used", `--gpu is "0" with 0 GPUs`},

	{edit{fileWorkers, "image: muster", "image: muster-worker"}, "one image", "muster-worker"},
	{edit{fileKustomize, "newTag: dev", "newTag: latest"}, "one image", "latest"},

	{edit{fileKustomize, "\nnamespace: muster\n", "\n"}, "one namespace", `in namespace ""`},
	{edit{fileKustomize, "  - namespace.yaml\n  - paramserver-service.yaml\n", "  - paramserver-service.yaml\n  - namespace.yaml\n"}, "one namespace", "comes before"},

	{edit{fileWorkers, "    app.kubernetes.io/name: muster\n    app.kubernetes.io/component: worker\nspec", "    app: worker\nspec"}, "labels say what belongs together", "Job worker is labelled"},
	{edit{fileWorkers, "        app.kubernetes.io/component: worker\n      annotations", "        app.kubernetes.io/component: work\n      annotations"}, "labels say what belongs together", "its pods are labelled"},
	{edit{fileKustomize, "        app.kubernetes.io/component: paramserver\n", ""}, "labels say what belongs together", "ConfigMap"},
}

// TestChecksFindFaults plants each fault in the folder that its file is in. The
// check named for it must find it; others may as well.
func TestChecksFindFaults(t *testing.T) {
	found := map[string]bool{}
	for _, f := range faults {
		name := f.edit.file + ": " + strings.TrimSpace(f.edit.new)
		m := built(t, path.Dir(f.edit.file), f.edit)
		i := slices.IndexFunc(checks, func(c check) bool { return c.name == f.check })
		if i < 0 {
			t.Fatalf("%s: there is no check %q", name, f.check)
		}
		err := checks[i].find(m)
		if err == nil || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s: %s: %v, want an error with %q", name, f.check, err, f.want)
		}
		t.Logf("%s: %v", f.check, err) // with -v, a list of what the checks catch
		found[f.check] = true
	}
	for _, c := range checks {
		if !found[c.name] {
			t.Errorf("nothing shows what check %q finds", c.name)
		}
	}
}

// TestNamespaceIsSetInOnePlace gives an overlay another one.
func TestNamespaceIsSetInOnePlace(t *testing.T) {
	for _, folder := range folders {
		m := built(t, folder, edit{folder + "/kustomization.yaml", "namespace: muster", "namespace: other"})
		if err := checkNamespace(m); err != nil || m.namespace.Name != "other" {
			t.Errorf("%s: namespace %q, %v", folder, m.namespace.Name, err)
		}
	}
}

// TestChangedJobRestartsTheServerAlone changes the file: the server's pods must
// change with it, and the workers' must not, because a Job's never may.
func TestChangedJobRestartsTheServerAlone(t *testing.T) {
	before, after := built(t, "base"), built(t, "base", edit{fileConfig, "epochs: 10", "epochs: 20"})
	if reflect.DeepEqual(before.server.Spec.Template, after.server.Spec.Template) {
		t.Error("another job.yaml leaves the server's pods as they are")
	}
	if !reflect.DeepEqual(before.workers, after.workers) {
		t.Error("another job.yaml changes the Job: Kubernetes refuses that of its template, and README.md says that it stays")
	}
}
