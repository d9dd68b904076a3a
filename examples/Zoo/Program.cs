return Zoo.CommandLine.Run(args);
