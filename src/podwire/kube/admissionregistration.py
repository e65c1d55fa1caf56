"""admissionregistration.k8s.io/v1: admission webhooks and policies (KEP-3488)."""

from typing import Annotated

from podwire.kube.meta import Condition, KubeObject, LabelSelector
from podwire.kube.struct import KubeStruct, api


class NamedRuleWithOperations(KubeStruct, frozen=True):
    """Which requests."""

    resource_names: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    operations: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    api_groups: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    api_versions: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    resources: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    scope: str | None = None


class MatchResources(KubeStruct, frozen=True):
    """Which objects."""

    namespace_selector: LabelSelector | None = None
    object_selector: LabelSelector | None = None
    resource_rules: Annotated[tuple[NamedRuleWithOperations, ...], api(list_type="atomic")] = ()
    exclude_resource_rules: Annotated[tuple[NamedRuleWithOperations, ...], api(list_type="atomic")] = ()
    match_policy: str | None = None


class ParamKind(KubeStruct, frozen=True):
    """The kind of the parameters."""

    api_version: str = ""
    kind: str = ""


class Validation(KubeStruct, frozen=True):
    """A condition that must hold."""

    expression: Annotated[str, api(required=True)] = ""
    message: str = ""
    reason: str | None = None
    message_expression: str = ""


class AuditAnnotation(KubeStruct, frozen=True):
    """What an audit log would hold; there is none here."""

    key: Annotated[str, api(required=True)] = ""
    value_expression: Annotated[str, api(required=True)] = ""


class MatchCondition(KubeStruct, frozen=True):
    """A condition that must hold for the policy to look."""

    name: Annotated[str, api(required=True)] = ""
    expression: Annotated[str, api(required=True)] = ""


class Variable(KubeStruct, frozen=True):
    """A name for an expression: ``variables.<name>``."""

    name: Annotated[str, api(required=True)] = ""
    expression: Annotated[str, api(required=True)] = ""


class ValidatingAdmissionPolicySpec(KubeStruct, frozen=True):
    """What is checked."""

    param_kind: ParamKind | None = None
    match_constraints: MatchResources | None = None
    validations: Annotated[tuple[Validation, ...], api(list_type="atomic")] = ()
    failure_policy: str | None = None
    audit_annotations: Annotated[tuple[AuditAnnotation, ...], api(list_type="atomic")] = ()
    match_conditions: Annotated[
        tuple[MatchCondition, ...], api(merge_key="name", list_type="map", list_map_keys=("name",))
    ] = ()
    variables: Annotated[tuple[Variable, ...], api(merge_key="name", list_type="map", list_map_keys=("name",))] = ()


class ExpressionWarning(KubeStruct, frozen=True):
    """A finding of type checking."""

    field_ref: Annotated[str, api(required=True)] = ""
    warning: Annotated[str, api(required=True)] = ""


class TypeChecking(KubeStruct, frozen=True):
    """The findings of type checking."""

    expression_warnings: Annotated[tuple[ExpressionWarning, ...], api(list_type="atomic")] = ()


class ValidatingAdmissionPolicyStatus(KubeStruct, frozen=True):
    """What is known of the policy."""

    observed_generation: int = 0
    type_checking: TypeChecking | None = None
    conditions: Annotated[tuple[Condition, ...], api(list_type="map", list_map_keys=("type",))] = ()


class ValidatingAdmissionPolicy(KubeObject, frozen=True):
    """Conditions in CEL that writes must fulfil, wherever a binding puts the policy in force."""

    spec: ValidatingAdmissionPolicySpec = ValidatingAdmissionPolicySpec()
    status: ValidatingAdmissionPolicyStatus = ValidatingAdmissionPolicyStatus()


class ParamRef(KubeStruct, frozen=True):
    """Which parameters."""

    name: str = ""
    namespace: str = ""
    selector: LabelSelector | None = None
    parameter_not_found_action: str | None = None


class ValidatingAdmissionPolicyBindingSpec(KubeStruct, frozen=True):
    """Where a policy is in force and what a violation does."""

    policy_name: str = ""
    param_ref: ParamRef | None = None
    match_resources: MatchResources | None = None
    validation_actions: Annotated[tuple[str, ...], api(list_type="set")] = ()


class ValidatingAdmissionPolicyBinding(KubeObject, frozen=True):
    """A policy in force."""

    spec: ValidatingAdmissionPolicyBindingSpec = ValidatingAdmissionPolicyBindingSpec()


# --- webhooks ---


class RuleWithOperations(KubeStruct, frozen=True):
    """Which requests a webhook is asked about."""

    operations: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    api_groups: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    api_versions: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    resources: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    scope: str | None = None


class ServiceReference(KubeStruct, frozen=True):
    """The Service a webhook listens behind."""

    namespace: Annotated[str, api(required=True)] = ""
    name: Annotated[str, api(required=True)] = ""
    path: str | None = None
    port: int | None = None


class WebhookClientConfig(KubeStruct, frozen=True):
    """Where a webhook is, and whom its certificate must be from."""

    url: str | None = None
    service: ServiceReference | None = None
    ca_bundle: Annotated[str, api(format="byte")] = ""


class ValidatingWebhook(KubeStruct, frozen=True):
    """An HTTPS service that allows or denies writes."""

    name: Annotated[str, api(required=True)] = ""
    client_config: Annotated[WebhookClientConfig, api(required=True)] = WebhookClientConfig()
    rules: Annotated[tuple[RuleWithOperations, ...], api(list_type="atomic")] = ()
    failure_policy: str | None = None
    match_policy: str | None = None
    namespace_selector: LabelSelector | None = None
    object_selector: LabelSelector | None = None
    side_effects: Annotated[str | None, api(required=True)] = None
    timeout_seconds: int | None = None
    admission_review_versions: Annotated[tuple[str, ...], api(required=True, list_type="atomic")] = ()
    match_conditions: Annotated[
        tuple[MatchCondition, ...], api(merge_key="name", list_type="map", list_map_keys=("name",))
    ] = ()


class MutatingWebhook(KubeStruct, frozen=True):
    """An HTTPS service that may also change what is written."""

    name: Annotated[str, api(required=True)] = ""
    client_config: Annotated[WebhookClientConfig, api(required=True)] = WebhookClientConfig()
    rules: Annotated[tuple[RuleWithOperations, ...], api(list_type="atomic")] = ()
    failure_policy: str | None = None
    match_policy: str | None = None
    namespace_selector: LabelSelector | None = None
    object_selector: LabelSelector | None = None
    side_effects: Annotated[str | None, api(required=True)] = None
    timeout_seconds: int | None = None
    admission_review_versions: Annotated[tuple[str, ...], api(required=True, list_type="atomic")] = ()
    reinvocation_policy: str | None = None
    match_conditions: Annotated[
        tuple[MatchCondition, ...], api(merge_key="name", list_type="map", list_map_keys=("name",))
    ] = ()


class ValidatingWebhookConfiguration(KubeObject, frozen=True):
    """Webhooks that may deny writes."""

    webhooks: Annotated[
        tuple[ValidatingWebhook, ...], api(merge_key="name", list_type="map", list_map_keys=("name",))
    ] = ()


class MutatingWebhookConfiguration(KubeObject, frozen=True):
    """Webhooks that may change writes."""

    webhooks: Annotated[
        tuple[MutatingWebhook, ...], api(merge_key="name", list_type="map", list_map_keys=("name",))
    ] = ()
