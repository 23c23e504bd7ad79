`omaim.bodies.common_policy` decides by rules who may do what (RFC 4745, with OMA's conditions and
their order).
