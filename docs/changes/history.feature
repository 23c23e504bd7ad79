Conversation history: users have their pager messages recorded, see, search, fetch and delete what
was said, from the library (`client.history`) and the prompt (`/history`). Settings of the IM service
by PUBLISH: being there, what is to wait, what is recorded; they survive a restart.
