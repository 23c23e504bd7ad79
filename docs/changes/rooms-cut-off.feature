A session or a stay in a room that was being recorded when the process died gets its end at the next start, marked as cut off in the list of what is recorded.
