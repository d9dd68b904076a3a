using System.Reflection;

namespace ModelGen.Tests.Infrastructure;

/// <summary>
/// Marks a static method without parameters and result that <see cref="ChildProcess.RunCheck(Action, ValueTuple{string, string}[])"/>
/// may run in a process of its own. It reports a failure by throwing.
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class CheckAttribute : Attribute;

/// <summary>Entry point of the test assembly as a program: <c>--check Namespace.Type.Method</c> runs one check, anything else the tests.</summary>
public static class CheckEntryPoint
{
    public const int Passed = 0;
    public const int Failed = 1;
    public const int Usage = 2;

    public static int Main(string[] arguments)
    {
        if (arguments is not ["--check", ..])
        {
            return Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(arguments).GetAwaiter().GetResult();
        }

        if (arguments is not [_, string name])
        {
            Console.Error.WriteLine("usage: ModelGen.Tests --check Namespace.Type.Method (a method marked [Check])");
            return Usage;
        }

        if (Find(name) is not { } check)
        {
            Console.Error.WriteLine($"There is no static, parameterless method '{name}' marked [Check].");
            return Usage;
        }

        try
        {
            check();
            return Passed;
        }
        catch (Exception exception)
        {
            Console.Error.WriteLine(exception);
            return Failed;
        }
    }

    /// <summary>The name by which <see cref="Main"/> finds a check.</summary>
    public static string NameOf(MethodInfo method) => $"{method.DeclaringType!.FullName}.{method.Name}";

    private static Action? Find(string name)
    {
        int dot = name.LastIndexOf('.');
        MethodInfo? method = dot < 0
            ? null
            : typeof(CheckEntryPoint).Assembly.GetType(name[..dot])?.GetMethod(
                name[(dot + 1)..], BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic, []);
        return method?.GetCustomAttribute<CheckAttribute>() is null || method.ReturnType != typeof(void)
            ? null
            : method.CreateDelegate<Action>();
    }
}
