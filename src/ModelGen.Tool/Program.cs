using ModelGen.Tool;

try
{
    return CommandLine.Run(args);
}
catch (Exception exception)
{
    // Whatever it is, a script that runs the tool gets a line and a code. Tests call what is inside, and see it whole.
    Console.Error.WriteLine($"error: {CommandLine.OneLine($"a fault of the tool: {exception.GetType().Name}: {exception.Message}")}");
    return ExitCode.Failure;
}
