The prompt says in one line what did not work and what to do next, and more with `/why`; `/can` shows what somebody's client takes; what is typed before the registration is done waits for it.
