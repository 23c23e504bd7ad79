Attacks as tests: forged identities, routes and credentials, floods, slow and deaf peers, bombs in
bodies, loops and reflection, in virtual time and over real sockets; and a fuzzing harness for every
parser (`python tests/fuzz/harness.py --seconds N`).
