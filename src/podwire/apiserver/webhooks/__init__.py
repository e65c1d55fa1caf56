"""Admission webhooks: HTTPS services that are asked about writes (admissionregistration.k8s.io/v1).

``hooks`` knows which are asked and carries their answers out, ``review`` is the AdmissionReview they are asked with,
``call`` the HTTPS request. Nothing here loads before a configuration exists.
"""
