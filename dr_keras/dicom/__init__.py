"""Results for a clinic's archive: DICOM objects beside the photograph, FHIR reports, a listener."""
