`omaim.bodies.groups` reads and writes the definitions of groups, and tells everybody's rights in
them.
