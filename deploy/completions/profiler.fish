complete --keep-order --exclusive --command profiler --arguments "(PROFILER_COMPLETE=fish profiler -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
