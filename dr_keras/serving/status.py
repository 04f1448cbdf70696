"""Status and metadata of the model, in the JSON of TensorFlow Serving's REST API."""

from google.protobuf import json_format

from dr_keras.serving.refusal import Refused


def status(servable):
    """Answer to `GET /v1/models/NAME`: dict for JSON."""
    fine = {"error_code": "OK", "error_message": ""}
    return {
        "model_version_status": [{"version": str(servable.version), "state": "AVAILABLE", "status": fine}]
    }


def models(servable):
    """Answer to `GET /v1/models`, which TensorFlow Serving doesn't have: dict for JSON."""
    return {"models": [{"name": servable.name, "version": str(servable.version)}]}


def metadata(servable):
    """Answer to `GET /v1/models/NAME/metadata`: dict for JSON."""
    definitions = {
        name: json_format.MessageToDict(
            definition, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
        )
        for name, definition in servable.definitions.items()
    }
    spec = {"name": servable.name, "signature_name": "", "version": str(servable.version)}
    return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": definitions}}}


def check_served(servable, name, version, wants_status=False):
    """Raises `Refused` with 404 unless a model and version (int, or None for the newest) are served."""
    if name == servable.name and version in (None, servable.version):
        return
    if wants_status:
        what = "any versions" if version is None else f"version {version}"
        raise Refused(404, f"Could not find {what} of model {name}")
    asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    raise Refused(404, f"Servable not found for request: {asked}")
