using ModelGen.Tool;

return CommandLine.Run(args);
