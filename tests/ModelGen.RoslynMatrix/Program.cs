using System.Reflection;
using ModelGen.RoslynMatrix;

// Runs the generator and the analyzer inside a chosen compiler, and prints what they made of some declarations:
//   ModelGen.RoslynMatrix COMPILER-FOLDER REFERENCES-FILE SOURCE-FILE [CULTURE]
// COMPILER-FOLDER holds Microsoft.CodeAnalysis.CSharp.dll ("." for the one beside this program, the oldest supported),
// REFERENCES-FILE lists one assembly on each line. A test compares the output of several compilers.
if (args.Length is not (3 or 4))
{
    Console.Error.WriteLine("expected: COMPILER-FOLDER REFERENCES-FILE SOURCE-FILE [CULTURE]");
    return 2;
}

string folder = args[0] == "." ? AppContext.BaseDirectory : Path.GetFullPath(args[0]);
Assembly inside = new CompilerContext(folder).LoadFromAssemblyPath(typeof(CompilerContext).Assembly.Location);
MethodInfo run = inside.GetType(typeof(Report).FullName!, throwOnError: true)!.GetMethod(nameof(Report.Write))!;
run.Invoke(null, BindingFlags.DoNotWrapExceptions, null, [args[1], args[2], args.Length == 4 ? args[3] : "", Console.Out], null);
return 0;
