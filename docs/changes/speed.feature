REGISTER and MESSAGE cost a third less processor time in the core, and a message through the IM Server a quarter less.
