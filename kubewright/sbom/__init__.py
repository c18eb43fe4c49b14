"""Software bills of materials: what is really linked into each output, under which licences, as CycloneDX and SPDX."""
