using ModelGen.Tests.Runtime;

/// <summary>The runtime looks for this name, outside any namespace, in the assemblies of DOTNET_STARTUP_HOOKS.</summary>
internal static class StartupHook
{
    public static void Initialize() => SaveLoop.RunIfAsked();
}
