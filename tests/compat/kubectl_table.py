"""The kubectl invocations people use, with what Kubernetes documents for each: data for ``test_kubectl_table.py``.

Every pattern of a row must be found (``re.MULTILINE``) in standard output and error together. Rows of a group run in
order, groups are independent.
"""

import msgspec


class Row(msgspec.Struct, frozen=True):
    """One invocation."""

    command: str
    code: int = 0
    patterns: tuple[str, ...] = ()
    text: str = ""


def ok(command: str, *patterns: str, text: str = "") -> Row:
    """Succeeds, and says all of ``patterns``."""
    return Row(command, 0, patterns, text)


def no(command: str, *patterns: str, code: int = 1, text: str = "") -> Row:
    """Fails, and says all of ``patterns``."""
    return Row(command, code, patterns, text)


CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: table, labels: {table: 'yes'}}\ndata: {a: '1'}\n"
WIDE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: server, labels: {table: 'yes'}}\ndata: {b: '2'}\n"

PRUNED = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: table, labels: {table: prune}}\n"
PRUNED2 = PRUNED.replace("name: table", "name: other")
EDITED = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: edited}\ndata: {a: '3'}\n"
DEPLOY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: quick}
spec:
  selector: {matchLabels: {app: quick}}
  template: {metadata: {labels: {app: quick}}, spec: {containers: [{name: main, image: example.com/x}]}}
"""

MORE_CIDR = """
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: more}
spec: {cidrs: [10.200.0.0/24]}
"""
WIDE_CIDR = MORE_CIDR.replace("name: more", "name: wide").replace("0/24", "0/16")
SCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: scaled}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: scaled}
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
"""
HOOKS = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: table}
webhooks:
  - name: table.example.com
    clientConfig: {service: {namespace: shop, name: nobody}}
    rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
    namespaceSelector: {matchLabels: {table: hooks}}
    sideEffects: None
    admissionReviewVersions: [v1]
"""

TABLE: dict[str, tuple[Row, ...]] = {
    "service-cidrs": (
        ok("get servicecidrs", r"^NAME +CIDRS +AGE$", r"^kubernetes +10\.96\.0\.0/12 "),
        ok("get ip 10.96.0.1", r"^NAME +PARENTREF$", r"^10\.96\.0\.1 +services/default/kubernetes$"),
        ok("get servicecidr kubernetes -o yaml", r"Kubernetes Service CIDR is ready", r"service-cidr-finalizer"),
        ok("apply -f -", r"servicecidr\.networking\.k8s\.io/more created", text=MORE_CIDR),
        ok("wait --for=condition=Ready servicecidr/more --timeout=10s", r"condition met"),
        ok("create service clusterip second --tcp=80:80 --clusterip=10.200.0.7", r"service/second created"),
        ok("get ipaddresses 10.200.0.7", r"services/default/second"),
        no("create service clusterip third --tcp=80:80 --clusterip=10.200.0.7", r"provided IP is already allocated"),
        no("create service clusterip third --tcp=80:80 --clusterip=10.201.0.7", r"is not in the valid range"),
        ok("delete servicecidr more --wait=false", r"deleted"),
        ok("wait --for=condition=Ready=False servicecidr/more --timeout=10s", r"condition met"),
        ok("apply -f -", r"servicecidr\.networking\.k8s\.io/wide created", text=WIDE_CIDR),
        ok("delete svc second", r"deleted"),
        ok("wait --for=delete servicecidr/more --timeout=30s"),
        ok("delete servicecidr wide --wait=false", r"deleted"),
        no(
            "create -f -",
            r"spec\.cidrs\[0\]: Invalid value",
            text=MORE_CIDR.replace("10.200.0.0/24", "10.200.0.1/24"),
        ),
    ),
    "other-kinds": (
        ok("get rc -A", r"No resources found"),
        no(
            "create -f -",
            r"ReplicationControllers are not run here: write a Deployment instead",
            text="apiVersion: v1\nkind: ReplicationController\nmetadata: {name: old}\nspec: {replicas: 1}\n",
        ),
        ok("create deployment scaled --image=example.com/x", r"created"),
        ok("apply -f -", r"horizontalpodautoscaler\.autoscaling/scaled created", text=SCALER),
        ok("get hpa scaled", r"^NAME +REFERENCE +TARGETS", r"^scaled +Deployment/scaled +cpu: <unknown>/50% +1 +3"),
        ok("wait --for=condition=ScalingActive=False hpa/scaled --timeout=30s", r"condition met"),
        ok("describe hpa scaled", r"NotEnforced", r"podwire does not scale by metrics"),
        ok("delete hpa/scaled deploy/scaled", r"deleted"),
        no(
            "create -f -",
            r"spec\.maxReplicas: Invalid value: 0: must be greater than 0",
            r"spec\.scaleTargetRef\.name: Required value",
            text="apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: x}\n"
            "spec: {scaleTargetRef: {kind: Deployment}}\n",
        ),
        ok(
            "apply -f - --prune -l prune=all --namespace default",
            r"configmap/pruned created",
            text="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: pruned, labels: {prune: all}}\n",
        ),
        ok(
            "apply -f - --prune -l prune=all --namespace default",
            r"configmap/other created",
            r"configmap/pruned pruned",
            text="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, labels: {prune: all}}\n",
        ),
        ok("delete configmap other", r"deleted"),
        no("get runtimeclasses", r"doesn't have a resource type"),
        no("get --raw /api/v1/nodes/node-1/proxy/stats/summary", r"could not find the requested resource"),
    ),
    "webhooks": (
        ok("create namespace hooked", r"created"),
        ok("label namespace hooked table=hooks", r"labeled"),
        ok("apply -f -", r"validatingwebhookconfiguration\.admissionregistration\.k8s\.io/table created", text=HOOKS),
        ok("get validatingwebhookconfigurations", r"^NAME +WEBHOOKS +AGE$", r"^table +1 "),
        ok("describe validatingwebhookconfiguration table", r"Failure Policy: +Fail", r"Timeout Seconds: +10"),
        ok("explain validatingwebhookconfigurations.webhooks.clientConfig", r"^FIELDS:|caBundle"),
        no(
            "create configmap x -n hooked",
            r"Internal error occurred: failed calling webhook \"table\.example\.com\": failed to",
            r"services \"nobody\" not found",
        ),
        ok("create configmap free -n default", r"created"),
        ok("delete validatingwebhookconfiguration table", r"deleted"),
        ok("create configmap x -n hooked", r"created"),
        ok("delete configmap free -n default", r"deleted"),
        ok("delete namespace hooked", r"deleted"),
        ok("get mutatingwebhookconfigurations", r"No resources found"),
        no("get mutatingadmissionpolicies", r"the server doesn't have a resource type"),
    ),
    "read": (
        ok("get pods -n shop", r"^NAME +READY +STATUS +RESTARTS +AGE$", r"^debug +1/1 +Running +0"),
        ok("get pods -n shop -o wide", r"IP +NODE +NOMINATED NODE +READINESS GATES", r"10\.244\.\d+\.\d+ +node-[12]"),
        ok("get pods -A", r"^NAMESPACE +NAME", r"^kube-system +coredns-"),
        ok("get po,svc -n shop", r"^NAME +READY", r"^service/web +ClusterIP"),
        ok("get all -n shop", r"^pod/debug", r"^deployment\.apps/web +3/3", r"^statefulset\.apps/inventory +2/2"),
        ok("get deploy web -n shop -o yaml", r"^kind: Deployment$", r"readyReplicas: 3"),
        ok("get deploy web -n shop -o json", r'"kind": "Deployment"'),
        ok("get deploy web -n shop -o name", r"^deployment\.apps/web$"),
        ok("get deploy -n shop -o jsonpath={.items[*].metadata.name}", r"cart catalog checkout web"),
        ok("get pods -n shop -o custom-columns=N:.metadata.name,P:.status.phase", r"^N +P$", r"^debug +Running$"),
        ok("get pods -n shop -l app=web --no-headers", r"^web-"),
        ok("get pods -n shop -l app=web,tier!=x", r"^web-"),
        ok("get pods -n shop -l 'app in (web,cart)'", r"^web-", r"^cart-"),
        ok("get pods -n shop -l '!nope' --show-labels", r"LABELS$", r"app=debug"),
        ok("get pods -n shop -L app", r"APP$", r"debug$"),
        ok("get pods -A --field-selector=status.phase=Running", r"coredns"),
        ok("get pods -A --field-selector=spec.nodeName=node-1", r"^NAMESPACE"),
        ok("get pods -n shop --sort-by=.metadata.name", r"^NAME"),
        ok(
            "get svc -n shop",
            r"^catalog +NodePort +\S+ +<none> +80:30080/TCP",
            r"^billing +ExternalName +<none> +ledger",
        ),
        ok("get svc -n shop storefront", r"LoadBalancer +\S+ +10\.89\.\d+\.\d+"),
        ok("get svc kubernetes", r"^kubernetes +ClusterIP +10\.96\.0\.1 +<none> +443/TCP"),
        ok("get endpoints -n shop web", r"^web +10\.244\.\d+\.\d+:8080,"),
        ok("get endpointslices -n shop", r"ADDRESSTYPE +PORTS +ENDPOINTS", r"IPv4 +8080"),
        ok("get ing -n shop", r"^shop +nginx +shop\.example\.com +10\.89\.\d+\.\d+ +80, 443"),
        ok("get ingressclass", r"^nginx +k8s\.io/ingress-nginx"),
        ok("get netpol -n shop", r"^default-deny +<none>", r"^debug +app=debug"),
        ok("get nodes", r"^node-1 +Ready", r"^node-2 +Ready"),
        ok("get nodes -o wide", r"INTERNAL-IP +EXTERNAL-IP +OS-IMAGE", r"10\.89\.\d+\.10"),
        ok("get ns", r"^shop +Active", r"^kube-system +Active"),
        ok("get secrets -n shop", r"^shop-tls +kubernetes\.io/tls +2"),
        ok("get cm -n shop", r"^kube-root-ca\.crt +1"),
        ok("get sa -n shop", r"^default "),
        ok("get sts -n shop", r"^inventory +2/2"),
        ok("get rs -n shop", r"^web-\S+ +3 +3 +3"),
        ok("get events -n shop", r"LAST SEEN +TYPE +REASON +OBJECT +MESSAGE", r"Started"),
        ok("get pods -n empty-namespace", r"No resources found in empty-namespace namespace"),
        no("get pod nope -n shop", r'pods "nope" not found'),
        no("get nope", r"doesn't have a resource type \"nope\""),
        no("get pods -A --field-selector=spec.nope=1", r"field label not supported"),
        ok("get --raw /version", r'"major"'),
        ok("get --raw /readyz", r"ok"),
        ok("get --raw /api/v1/namespaces/shop/services/web", r'"kind": ?"Service"'),
        ok("version", r"Server Version: v1\."),
        ok("cluster-info", r"control plane.* is running at"),
        ok("api-resources", r"^deployments +deploy +apps/v1 +true +Deployment", r"^networkpolicies +netpol"),
        ok("api-resources --namespaced=false", r"^namespaces +ns"),
        ok("api-versions", r"^apps/v1$", r"^networking\.k8s\.io/v1$"),
    ),
    "describe": (
        ok(
            "describe pod debug -n shop",
            r"^Name: +debug",
            r"^Node: +node-[12]/10\.89",
            r"^Events:",
            r"Started container",
        ),
        ok("describe deploy web -n shop", r"Replicas: +3 desired \| 3 updated \| 3 total \| 3 available"),
        ok("describe svc web -n shop", r"^Endpoints: +10\.244", r"^Session Affinity: +None"),
        ok("describe svc cart -n shop", r"^Session Affinity: +ClientIP"),
        ok("describe ing shop -n shop", r"shop-tls terminates shop\.example\.com", r"/checkout +checkout:http"),
        ok("describe netpol allow-dns -n shop", r"NamespaceSelector: kubernetes\.io/metadata\.name=kube-system"),
        ok("describe node node-1", r"^Name: +node-1", r"PodCIDR: +10\.244\.0\.0/24"),
        ok("describe ns shop", r"^Status: +Active"),
        ok("describe sts inventory -n shop", r"Replicas: +2 desired \| 2 total"),
        ok("describe secret shop-tls -n shop", r"tls\.key: +\d+ bytes"),
        ok("describe cm kube-root-ca.crt -n shop", r"BEGIN CERTIFICATE"),
        no("describe pod nope -n shop", r"not found"),
    ),
    "explain": (
        ok("explain pods", r"^KIND: +Pod", r"^FIELDS:"),
        ok("explain pods.spec.containers", r"^FIELD: containers", r"image\t"),
        ok("explain deploy.spec.strategy.rollingUpdate", r"maxSurge"),
        ok("explain ingress.spec.rules.http.paths", r"pathType"),
        ok("explain netpol.spec.ingress.from", r"ipBlock"),
        ok("explain svc.spec.externalTrafficPolicy", r"^FIELD: externalTrafficPolicy"),
        ok("explain svc --recursive", r"sessionAffinityConfig"),
        no("explain pods.spec.nope", r"does not exist"),
    ),
    "write": (
        ok("apply -f -", r"configmap/table created", text=CONFIG_MAP),
        ok("apply -f -", r"configmap/table unchanged", text=CONFIG_MAP),
        ok("diff -f -", text=CONFIG_MAP),
        no("diff -f -", r"^\+ +a: +\"?2", text=CONFIG_MAP.replace("'1'", "'2'")),
        ok("apply -f -", r"configmap/table configured", text=CONFIG_MAP.replace("'1'", "'2'")),
        ok("apply --server-side -f -", r"configmap/server serverside-applied", text=WIDE),
        no(
            "apply --server-side --field-manager=other -f -",
            r"conflict with \"kubectl\"",
            r"\.data\.b",
            text=WIDE.replace("'2'", "'3'"),
        ),
        ok(
            "apply --server-side --force-conflicts --field-manager=other -f -",
            r"serverside-applied",
            text=WIDE.replace("'2'", "'3'"),
        ),
        ok("apply view-last-applied configmap table", r"a: \"?2"),
        no("create -f -", r"already exists", text=CONFIG_MAP),
        ok("replace -f -", r"configmap/table replaced", text=CONFIG_MAP),
        ok("get cm table -o jsonpath={.data.a}", r"^1$"),
        ok("label cm table color=red", r"labeled"),
        no("label cm table color=blue", r"already has a value"),
        ok("label cm table color=blue --overwrite", r"labeled"),
        ok("label cm table color-", r"unlabeled"),
        ok("annotate cm table note=x", r"annotated"),
        ok("""patch cm table -p '{"data":{"c":"3"}}' """, r"patched"),
        ok("""patch cm table --type=merge -p '{"data":{"c":null}}' """, r"patched"),
        ok("""patch cm table --type=json -p '[{"op":"add","path":"/data/d","value":"4"}]' """, r"patched"),
        no("""patch cm table --type=json -p '[{"op":"test","path":"/data/d","value":"5"}]' """, r"."),
        ok("""patch cm table -p '{"data":{"d":"4"}}' """, r"no change"),
        ok("get cm -l table=yes -o name", r"configmap/server", r"configmap/table"),
        ok("create configmap literal --from-literal=a=b --dry-run=client -o yaml", r"^kind: ConfigMap"),
        ok("create configmap literal --from-literal=a=b", r"configmap/literal created"),
        ok("create secret generic hidden --from-literal=a=b", r"secret/hidden created"),
        ok("create deployment quick --image=example.com/x --replicas=2 --port=80", r"deployment\.apps/quick created"),
        ok("expose deployment quick --port=80", r"service/quick exposed"),
        ok("create service clusterip plain --tcp=80:80", r"service/plain created"),
        ok("create ingress byhand --class=nginx --rule=table.example.com/*=quick:80", r"created"),
        ok("create namespace made", r"namespace/made created"),
        ok("create sa robot", r"serviceaccount/robot created"),
        ok("set image deploy/quick x=example.com/y", r"image updated"),
        ok("set env deploy/quick A=B", r"env updated"),
        ok("rollout status deploy/quick --timeout=60s", r"successfully rolled out"),
        ok("scale deploy quick --replicas=1", r"scaled"),
        ok("get deploy quick -o yaml --show-managed-fields", r"^    subresource: scale$"),
        ok("wait --for=condition=Available deploy/quick --timeout=60s", r"condition met"),
        ok("wait --for=jsonpath={.status.readyReplicas}=1 deploy/quick --timeout=60s", r"condition met"),
        ok("delete cm -l table=yes", r'configmap "table" deleted'),
        ok("delete cm literal --wait=false", r"deleted"),
        ok("delete secret hidden", r"deleted"),
        ok("delete ingress byhand", r"deleted"),
        ok("delete svc quick plain", r'service "plain" deleted'),
        ok("delete deploy quick", r"deleted"),
        ok("wait --for=delete deploy/quick --timeout=60s"),
        ok("delete sa robot", r"deleted"),
        ok("delete ns made", r'namespace "made" deleted'),
        no("delete cm nope", r"not found"),
        ok("delete cm nope --ignore-not-found"),
        no(
            "apply -f -",
            r'unknown field "spec\.prots"',
            text="apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {prots: []}\n",
        ),
        no("apply -f -", r"spec\.ports", text="apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {}\n"),
        ok("apply --dry-run=server -f -", r"created \(server dry run\)", text=CONFIG_MAP),
        no("get cm table", r"not found"),
    ),
    "rollout": (
        ok("create deployment roll --image=example.com/x:1 --replicas=2", r"created"),
        ok("rollout status deploy/roll --timeout=60s", r"successfully rolled out"),
        ok("set image deploy/roll x=example.com/x:2", r"updated"),
        ok("rollout status deploy/roll --timeout=60s", r"successfully rolled out"),
        ok("rollout history deploy/roll", r"^1 ", r"^2 "),
        ok("rollout history deploy/roll --revision=2", r"example\.com/x:2"),
        ok("rollout undo deploy/roll", r"rolled back"),
        ok("rollout status deploy/roll --timeout=60s", r"successfully rolled out"),
        ok("get deploy roll -o jsonpath={.spec.template.spec.containers[0].image}", r"^example\.com/x:1$"),
        ok("rollout pause deploy/roll", r"paused"),
        ok("rollout resume deploy/roll", r"resumed"),
        ok("rollout restart deploy/roll", r"restarted"),
        ok("rollout status deploy/roll --timeout=60s", r"successfully rolled out"),
        ok("rollout restart sts/inventory -n shop", r"restarted"),
        ok("rollout status sts/inventory -n shop --timeout=60s", r"complete"),
        ok("autoscale deploy roll --min=1 --max=2 --dry-run=client -o yaml", r"HorizontalPodAutoscaler"),
        ok("delete deploy roll", r"deleted"),
    ),
    "pods": (
        ok("exec -n shop debug -- echo hello", r"^hello$"),
        ok("exec -n shop debug -- sh -c 'exit 0'"),
        no("exec -n shop debug -- sh -c 'exit 3'", r"exit code 3", code=3),
        ok("exec -n shop -i debug -- cat", r"^typed$", text="typed\n"),
        no("exec -n shop debug -- no-such-program", r"."),
        no("exec -n shop nope -- true", r"not found"),
        ok("exec -n shop deploy/web -- hostname", r"^web-"),
        ok(
            "exec -n shop debug -- cat /etc/resolv.conf",
            r"^search shop\.svc\.cluster\.local",
            r"^nameserver 10\.96\.0\.10",
        ),
        ok("exec -n shop debug -- cat /etc/hosts", r"\sdebug$"),
        ok("logs -n shop deploy/web", r"stand-in"),
        ok("logs -n shop deploy/web --tail=1", r"."),
        ok("logs -n shop deploy/web --timestamps", r"^\d{4}-\d\d-\d\dT"),
        ok("logs -n shop -l app=web --prefix", r"^\[pod/web-"),
        ok("logs -n shop deploy/web --since=1h", r"."),
        no("logs -n shop nope", r"not found"),
        no("logs -n shop debug -c nope", r"container nope is not valid"),
        ok("cp -n shop /etc/hostname debug:/tmp/copied"),
        ok("exec -n shop debug -- test -s /tmp/copied"),
        ok("run once --image=busybox --restart=Never --command -- echo done", r"pod/once created"),
        ok("wait --for=jsonpath={.status.phase}=Succeeded pod/once --timeout=60s", r"condition met"),
        ok("logs once", r"^done$"),
        ok("get pod once", r"Completed"),
        ok("delete pod once", r"deleted"),
        ok("run keep --image=example.com/x --port=80", r"created"),
        ok("wait --for=condition=Ready pod/keep --timeout=60s", r"condition met"),
        ok("delete pod keep --grace-period=0 --force", r"force deleted"),
    ),
    "priority": (
        ok("get pc", r"^NAME +VALUE +GLOBAL-DEFAULT", r"^system-cluster-critical +2000000000 +false"),
        ok("create priorityclass urgent --value=1000 --description=x", r"created"),
        ok("get pod -n kube-system -l k8s-app=kube-dns -o jsonpath={.items[0].spec.priority}", r"^2000000000$"),
        no(
            'run plain --image=busybox --overrides=\'{"spec":{"priorityClassName":"none"}}\'',
            r"no PriorityClass with name none was found",
        ),
        ok('run plain --image=busybox --overrides=\'{"spec":{"priorityClassName":"urgent"}}\'', r"created"),
        ok("describe pod plain", r"^Priority: +1000$", r"unreachable:NoExecute op=Exists for 300s"),
        ok("delete pod plain --force", r"deleted"),
        ok("delete pc urgent", r"deleted"),
    ),
    "debug": (
        ok("run patient --image=busybox --command -- sleep 31337", r"created"),
        ok("wait --for=condition=Ready pod/patient --timeout=60s", r"condition met"),
        ok("debug patient --image=busybox -c first -- sh -c 'hostname; exit 3'"),
        ok(
            "wait --for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=3 pod/patient "
            "--timeout=60s",
            r"condition met",
        ),
        ok("logs patient -c first", r"^patient$"),
        ok(
            "debug -i patient --image=busybox --target=patient -- sh -c 'read go; pgrep -f [s]leep.31337'",
            r"^1$",
            r"Targeting container",
            text="go\n",
        ),
        ok("debug patient --image=busybox -c stays -- sleep infinity"),
        ok(
            "wait --for=jsonpath={.status.ephemeralContainerStatuses[2].state.running} pod/patient --timeout=60s",
            r"condition met",
        ),
        ok("exec patient -c stays -- hostname", r"^patient$"),
        ok("describe pod patient", r"^Ephemeral Containers:$", r"^  stays:$", r"Exit Code: +3"),
        no("debug nope --image=busybox -- true", r'pods "nope" not found'),
        no(
            "patch pod patient --subresource=ephemeralcontainers --type=json "
            """-p='[{"op": "remove", "path": "/spec/ephemeralContainers/0"}]'""",
            r'existing ephemeral containers "first" may not be removed',
        ),
        ok("debug patient --image=busybox --copy-to=copy -c look --share-processes -- sleep infinity"),
        ok("wait --for=condition=Ready pod/copy --timeout=60s", r"condition met"),
        ok("exec copy -c look -- pgrep -f 31337", r"^\d+$"),
        ok("debug patient --copy-to=other --set-image=*=alpine"),
        ok("get pod other -o jsonpath={.spec.containers[0].image}", r"^alpine$"),
        ok(
            "debug -i node/node-1 --image=busybox -- sh -c 'read go; hostname; ls /host'",
            r"^node-1$",
            r"^etc$",
            text="go\n",
        ),
        ok("delete pod patient copy other --force", r"deleted"),
    ),
    "nodes": (
        ok("cordon node-2", r"cordoned"),
        ok("get node node-2", r"Ready,SchedulingDisabled"),
        ok("uncordon node-2", r"uncordoned"),
        ok("taint node node-2 a=b:NoSchedule", r"tainted"),
        ok("taint node node-2 a=b:NoSchedule-", r"untainted"),
        ok("label node node-2 disk=ssd", r"labeled"),
        ok("get nodes -l disk=ssd -o name", r"^node/node-2$"),
    ),
    "more-reading": (
        ok("get pods -n shop -o go-template='{{range .items}}{{.metadata.name}} {{end}}'", r"debug"),
        ok("get pods -n shop -o jsonpath='{range .items[*]}{.metadata.name}{end}'", r"debug"),
        ok("get pods -n shop -o jsonpath-as-json={.items[0].kind}", r'"Pod"'),
        ok("get pod debug -n shop -o yaml --show-managed-fields", r"managedFields:"),
        ok("get pods -n shop --chunk-size=1", r"^debug"),
        ok("get pods,deploy,svc -n shop -o name", r"^pod/debug$", r"^deployment\.apps/web$", r"^service/web$"),
        ok("get pod/debug svc/web -n shop", r"^pod/debug", r"^service/web"),
        ok("get --raw '/api/v1/namespaces/shop/pods?limit=1'", r'"continue"'),
        ok("get --raw /healthz", r"ok"),
        ok("get --raw /openapi/v3", r"apis/apps/v1"),
        ok("events -n shop", r"^LAST SEEN", r"Started"),
        ok("events -n shop --for pod/debug", r"Pod/debug"),
        ok("events -n shop --types=Normal", r"Normal"),
        ok("get events -n shop --field-selector involvedObject.name=debug", r"pod/debug"),
        ok("get leases -A", r"."),
        ok("get crd", r"No resources found"),
        ok("describe po -n shop -l app=debug", r"^Name: +debug"),
        ok("describe rs -n shop -l app=web", r"3 current / 3 desired"),
        ok("describe sa default", r"^Name: +default"),
        ok("describe endpoints web -n shop", r"Addresses: +10\.244"),
        ok("explain pod --api-version=v1", r"^KIND: +Pod"),
        ok("api-resources --api-group=apps -o name", r"^deployments\.apps$"),
        ok("api-resources --verbs=list --namespaced -o wide", r"create,delete"),
        ok("config view --minify", r"^current-context:"),
        ok("config current-context", r"."),
        ok("options", r"--kubeconfig"),
        ok("version -o json", r'"serverVersion"'),
        ok("get --raw /api/v1/namespaces/shop/services/web/proxy/", r'"pod"'),
        ok("wait --for=jsonpath='{.status.phase}'=Running pod/debug -n shop --timeout=30s", r"condition met"),
        ok("wait --for=condition=Ready pod --all -n shop --timeout=60s", r"pod/debug condition met"),
        ok("wait --for=create pod/debug -n shop --timeout=10s", r"condition met"),
        no("wait --for=condition=Ready=False pod/debug -n shop --timeout=1s", r"timed out waiting"),
        no("get pods --kubeconfig=/nonexistent", r"."),
    ),
    "more-writing": (
        ok(
            "apply -f - --prune -l table=prune --prune-allowlist=core/v1/ConfigMap",
            r"configmap/table created",
            text=PRUNED,
        ),
        ok(
            "apply -f - --prune -l table=prune --prune-allowlist=core/v1/ConfigMap",
            r"configmap/other created",
            r"configmap/table pruned",
            text=PRUNED2,
        ),
        ok("delete cm other", r"deleted"),
        ok("create configmap edited --from-literal=a=1", r"created"),
        ok("edit configmap edited", r"configmap/edited edited"),
        ok("get cm edited -o jsonpath={.data.a}", r"^2$"),
        ok("edit configmap edited", r"Edit cancelled, no changes made"),
        ok('patch cm edited --type=merge -p \'{"data":{"z":"1"}}\' --dry-run=server', r"patched"),
        ok("replace --force -f -", r"configmap/edited", text=EDITED),
        ok("annotate cm edited a=b c=d", r"annotated"),
        ok("annotate cm edited a-", r"annotated"),
        ok("label cm --all seen=yes", r"labeled"),
        ok("create secret docker-registry reg --docker-server=x --docker-username=u --docker-password=p", r"created"),
        ok("get secret reg -o jsonpath={.type}", r"kubernetes\.io/dockerconfigjson"),
        ok("create service nodeport np --tcp=80:80", r"created"),
        ok("create service loadbalancer lb --tcp=80:80", r"created"),
        ok("create service externalname en --external-name=example.com", r"created"),
        ok("get svc en", r"ExternalName +<none> +example\.com"),
        ok("create job once --image=busybox -- true", r"job\.batch/once created"),
        ok("wait --for=condition=Complete job/once --timeout=60s", r"condition met"),
        ok("get job once", r"^once +Complete +1/1"),
        ok("create cronjob tick --image=busybox --schedule='0 0 1 1 *' -- true", r"created"),
        ok("create job manual --from=cronjob/tick", r"created"),
        ok("get cronjob tick", r"^tick +0 0 1 1 \*"),
        ok("create pdb guard --selector=app=x --min-available=1", r"created"),
        ok("get pdb guard", r"^guard +1"),
        ok("create priorityclass high --value=1000", r"created"),
        ok("create quota few --hard=configmaps=100", r"created"),
        ok("describe quota few", r"configmaps +\d+ +100"),
        ok("create clusterrole all --verb=get --resource=pods", r"created"),
        ok("create clusterrolebinding all --clusterrole=all --user=me", r"created"),
        ok("set subject clusterrolebinding all --user=you", r"subjects updated"),
        ok("set serviceaccount deploy quick default --local -f - -o yaml", r"serviceAccountName", text=DEPLOY),
        ok("delete clusterrolebinding/all clusterrole/all quota/few pc/high pdb/guard", r"deleted"),
        ok("delete job/once job/manual cronjob/tick", r"deleted"),
        ok("delete svc np lb en", r"deleted"),
        ok("delete secret/reg cm/edited", r"deleted"),
        ok("delete cm nothing --ignore-not-found --now"),
        ok("delete pods --all -n empty-namespace", r"No resources found"),
    ),
    "more-pods": (
        ok("run it -i --rm --restart=Never --image=busybox --command -- cat", r"pasted", text="pasted\n"),
        ok("logs -n shop -l app=web --all-containers --tail=1 --max-log-requests=10", r"."),
        ok("logs -n shop deploy/web --limit-bytes=10", r"."),
        no("logs -n shop debug --previous", r"previous terminated container"),
        ok("exec -n shop svc/web -- hostname", r"^web-"),
        ok("cp -n shop /etc/hostname debug:/tmp/there"),
        ok("cp -n shop debug:/tmp/there /dev/null"),
        ok("rollout status ds -n kube-system --timeout=60s"),
        ok("drain node-2 --ignore-daemonsets --delete-emptydir-data --force --timeout=60s", r"node/node-2 drained"),
        ok("uncordon node-2", r"uncordoned"),
        ok("wait --for=condition=Available deploy/web -n shop --timeout=60s", r"condition met"),
    ),
    "auth": (
        ok("auth whoami", r"Username"),
        ok("auth can-i create pods", r"^yes"),
        ok("auth can-i --list", r"\*\.\*"),
        no("auth can-i get pods --as=nobody", r"^no"),
        ok("create sa reader", r"created"),
        ok("create role reader --verb=get,list --resource=pods", r"created"),
        ok("create rolebinding reader --role=reader --serviceaccount=default:reader", r"created"),
        ok("auth can-i list pods --as=system:serviceaccount:default:reader", r"^yes"),
        no("auth can-i delete pods --as=system:serviceaccount:default:reader", r"^no"),
        no(
            "get svc --as=system:serviceaccount:default:reader",
            r"forbidden: User \"system:serviceaccount:default:reader\"",
        ),
        ok("create token reader", r"^eyJ"),
        ok("delete rolebinding/reader role/reader sa/reader", r"deleted"),
    ),
}
