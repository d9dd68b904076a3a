using Spectre.Console;

namespace ModelGen.Tool;

/// <summary>Shows on standard error how far something is, where a person looks at it.</summary>
internal static class Progress
{
    /// <summary>Runs something of so many steps.</summary>
    /// <param name="name">What it is; null to show nothing.</param>
    /// <param name="count">The number of steps.</param>
    /// <param name="action">Does it, and calls what it is given after each step.</param>
    public static void Run(string? name, int count, Action<Action> action)
    {
        if (name is null || Console.IsErrorRedirected || !Environment.UserInteractive)
        {
            action(static () => { });
            return;
        }

        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        console.Progress().AutoClear(true).Start(context =>
        {
            ProgressTask task = context.AddTask(name, maxValue: count);
            action(() => task.Increment(1));
        });
    }
}
